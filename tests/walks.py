"""Counts the modules of ours that one request executes in all processes: a table of four walks.

`python -m tests.walks` starts the gateway and the four services in one process, with the sandbox as the provider in a
process of its own, and records by `sys.setprofile` in which modules functions are called while a request is under way.
Every request is warm (a like one was made before, and a decoder of pictures waits) and uncached (its answer was not).
The sandbox and generated code are left out, and so is what the processes do besides: of the tasks of their background
loops only those count that work on the generation or on the callback of the walk, and tasks that were there before it,
such as the stream of events that the community holds open, do not. What a task has threads do counts with the task.

- a share read: GET /api/share/{id} of a share that nobody has read yet
- a like: POST /api/artworks/{id}/like by a person who is signed in
- a callback: from its arrival until the inbox has closed it and its generation is due
- a prompt: POST /api/generate-image, the submit, the callback, the record and the copy, until the picture is stored
"""

import asyncio
import io
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType, NoneType, UnionType
from typing import Any

import httpx
from PIL import Image

from services.chassis.addresses import ListenPort
from services.chassis.names import new_id
from services.generation.model import Callback, Generation
from tests.e2e.community.callers import SECRET, token
from tests.e2e.stack import ROOT
from tests.support.polling import eventually
from tests.support.ports import BLOCK, free_base

OURS = tuple(f"{ROOT / folder}{os.sep}" for folder in ("gateway", "services"))
PROVIDER = str(ROOT / "services" / "sandbox")
LOOP = "supervise"  # the function whose tasks are the background loops
PIECE = "LeaseLoop._do"  # the function whose tasks do a lease loop's work on one generation or one callback
QUIET_SECONDS = 1.5  # in which what a request has left to do is done
STOP_SECONDS = 20.0
DRAWING_SECONDS = 5.0  # of the sandbox: the second poll of a task, and its callback, come apart
IDLE_SECONDS = 600.0  # longer than all walks: a decoder that was started once waits for the next picture
PROCESSES = ("services.storage", "services.share", "services.generation", "services.community", "gateway")
# How many modules a walk should cross at most.
AIMS = {"a share read": 15, "a like": 20, "a callback": 35, "a prompt to its stored picture": 45}
# Runs in the workers that decode pictures: writes each function that a job executes into a pipe beside this text. A
# worker is confined before its first job, so the pipe is opened at its start. A function that was not called for
# FORGET_SECONDS is written again, so that each walk finds what its own job executes.
FORGET_SECONDS = 0.5
WORKER_HOOK = f"""
import os, sys, time
if "services.storage.media.worker" in sys.orig_argv:
    pipe, seen = os.open(os.path.join(os.path.dirname(__file__), "pipe"), os.O_RDWR | os.O_NONBLOCK), {{}}
    def profile(frame, event, _argument):
        code, now = frame.f_code, time.monotonic()
        if event == "call" and "/services/" in code.co_filename:
            if now - seen.get(code, 0) > {FORGET_SECONDS}:
                os.write(pipe, f"{{code.co_filename}} {{code.co_qualname}}\\n".encode())
            seen[code] = now
    sys.setprofile(profile)
"""

Walk = dict[str, set[str]]
"""The functions of each module."""
# The task for which a function runs. Threads of the database and of asyncio run what they are given in its context.
TASK: ContextVar[asyncio.Task[Any] | None] = ContextVar("TASK", default=None)


class Recorder:
    """Records modules while `recording`: those executed by tasks that are no background loop's, or do its work."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._seen: Walk = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._before: set[asyncio.Task[Any]] = set()
        self._works_on: type | UnionType = NoneType
        self._recording = False

    def make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **more: Any
    ) -> asyncio.Task[Any]:
        """Create a task, and note whether it is a background loop's or an open stream's: its own, or begun by it."""
        context = more.pop("context", None) or copy_context()
        task = asyncio.Task(coroutine, loop=loop, context=context, **more)
        context.run(TASK.set, task)
        name = getattr(coroutine, "__qualname__", "")
        is_work = name == PIECE and isinstance(coroutine.cr_frame.f_locals["piece"], self._works_on)
        parent, code = asyncio.current_task(loop), getattr(coroutine, "cr_code", None)
        # What a server's own tasks begin may be requests'; what a stream's begin are calls of ours.
        is_streams = parent in self._before and code is not None and code.co_filename.startswith(OURS)
        if name == LOOP or ((parent in self._background or is_streams) and not is_work):
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        return task

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Called by the interpreter at each call of a function."""
        code = frame.f_code
        if event != "call" or not self._recording or not code.co_filename.startswith(OURS):
            return
        task = TASK.get()
        if not code.co_filename.startswith(PROVIDER) and task not in self._background and task not in self._before:
            self._seen.setdefault(code.co_filename, set()).add(code.co_qualname)

    @asynccontextmanager
    async def walk(self, found: Walk, works_on: type | UnionType = NoneType) -> AsyncIterator[None]:
        """Add the modules executed while inside to `found`, with lease loops' work on pieces of this type."""
        await asyncio.sleep(QUIET_SECONDS)
        self._drain()
        self._before = asyncio.all_tasks() - {asyncio.current_task()}
        self._works_on, self._recording = works_on, True
        try:
            yield
        finally:
            self._recording = False
        for path, function in self._drain():
            self._seen.setdefault(path, set()).add(function)
        for path, functions in self._seen.items():
            found.setdefault(str(Path(path).relative_to(ROOT)), set()).update(functions)
        self._seen = {}

    def _drain(self) -> list[list[str]]:
        """What the workers wrote: paths and functions."""
        try:
            return [line.split(" ", 1) for line in os.read(self._pipe, 1 << 20).decode().splitlines()]
        except BlockingIOError:
            return []


@asynccontextmanager
async def stack(folder: Path) -> AsyncIterator["Stack"]:
    """Gateway and services in this process, the sandbox in another, on free ports and an empty data folder."""
    base = free_base()
    sandbox = f"127.0.0.1:{base + ListenPort.SANDBOX}"
    os.environ |= {
        "DATA_DIR": str(folder / "data"),
        "INTERNAL_PORT_BASE": str(base),
        "PORT": str(base + BLOCK - 1),
        "APP_URL": f"http://127.0.0.1:{base + ListenPort.GATEWAY}",
        "KIE_AI_BASE_URL": f"http://{sandbox}",
        "KIE_AI_API_KEY": "sandbox-walks",
        "OUTBOUND_ALLOW_PRIVATE": sandbox,
        "REDIS_URL": "none",
        "AUTH_HS256_SECRET": SECRET,
        "SANDBOX_GENERATION_SECONDS": str(DRAWING_SECONDS),
        "SANDBOX_IMAGE_SIDE": "64",
        "PICTURE_IDLE_SECONDS": str(IDLE_SECONDS),
        "LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path[:1]]),
    }
    (folder / "sitecustomize.py").write_text(WORKER_HOOK, encoding="utf-8")
    os.mkfifo(folder / "pipe")
    recorder = Recorder(os.open(folder / "pipe", os.O_RDWR | os.O_NONBLOCK))
    migration = await asyncio.create_subprocess_exec(sys.executable, "-m", "deploy.cli.main", "migrate", cwd=ROOT)
    assert await migration.wait() == 0
    provider = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.sandbox", cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    asyncio.get_running_loop().set_task_factory(recorder.make_task)
    threading.setprofile(recorder.profile)
    processes = [asyncio.create_task(import_module(f"{name}.__main__").main()) for name in PROCESSES]
    url = f"http://127.0.0.1:{base + ListenPort.GATEWAY}"
    headers = {"Authorization": f"Bearer {token('user_walks')}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as http:
            started = Stack(http, folder / "data", recorder)
            await eventually(started.is_ready)
            sys.setprofile(recorder.profile)
            yield started
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        provider.terminate()
        for process in processes:
            process.cancel()
        await asyncio.wait(processes, timeout=STOP_SECONDS)
        await provider.wait()


@dataclass(frozen=True)
class Stack:
    """A running stack, and what is asked of it."""

    http: httpx.AsyncClient
    data: Path
    recorder: Recorder

    async def is_ready(self) -> bool:
        """Whether every service serves."""
        try:
            return (await self.http.get("/readyz")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def share(self) -> str:
        """A share that nobody has read; its path."""
        body = {"generatedUrl": f"https://example.org/{new_id('pic')}.png", "prompt": "a cat", "style": "none"}
        answer = (await self.http.post("/api/share", json=body)).raise_for_status().json()
        return f"/api/share/{answer['data']['id']}"

    async def artwork(self) -> str:
        """A published artwork; its path."""
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), "teal").save(picture, "PNG")
        files = {"file": ("a.png", picture.getvalue(), "image/png")}
        fields = {"title": "A picture", "as_artwork": "1"}
        answer = (await self.http.post("/api/artworks/upload", files=files, data=fields)).raise_for_status().json()
        path = f"/api/artworks/{answer['data']['id']}"
        (await self.http.post(f"{path}/publish")).raise_for_status()
        return path

    async def order(self) -> str:
        """Order a picture; its task's id."""
        answer = await self.http.post("/api/generate-image", json={"prompt": "a cat"})
        return str(answer.raise_for_status().json()["taskId"])

    def row(self, query: str, *arguments: str) -> str:
        """One value of generation's database, read beside the service."""
        with closing(sqlite3.connect(self.data / "generation.sqlite3")) as database:
            return str((database.execute(query, arguments).fetchone() or ("",))[0])

    async def has_state(self, task: str, state: str) -> bool:
        """Whether a generation is in a state."""
        return self.row("SELECT state FROM generation WHERE id = ?", task) == state

    async def is_called_back(self, task: str) -> bool:
        """Whether a callback of a generation's task was processed."""
        query = "SELECT verdict FROM inbox WHERE task_id = (SELECT task_id FROM generation WHERE id = ?)"
        return self.row(query, task) != ""


async def walks(folder: Path) -> Mapping[str, Walk]:
    """The modules of each walk, by its name."""
    found: dict[str, Walk] = {}
    async with stack(folder) as site:
        http, record = site.http, site.recorder.walk
        await eventually(partial(site.has_state, await site.order(), "SUCCEEDED"))  # by then all streams are open
        # The first warms up. Of the others the least counts: a stream of events may be opened beside one, and what a
        # thread does around a transaction, for a background loop too, is done for no task.
        shares, artworks = [await site.share() for _ in range(4)], [await site.artwork() for _ in range(4)]
        reads: list[Walk] = [{} for _ in shares]
        likes: list[Walk] = [{} for _ in artworks]
        for path, modules in zip(shares, reads, strict=True):
            async with record(modules):
                (await http.get(path)).raise_for_status()
        for path, modules in zip(artworks, likes, strict=True):
            async with record(modules):
                (await http.post(f"{path}/like")).raise_for_status()
        found |= {"a share read": min(reads[1:], key=len), "a like": min(likes[1:], key=len)}
        async with record(found.setdefault("a prompt to its stored picture", {}), Callback | Generation):
            await eventually(partial(site.has_state, await site.order(), "SUCCEEDED"))
        task = await site.order()
        await eventually(partial(site.has_state, task, "RUNNING"))
        async with record(found.setdefault("a callback", {}), Callback):
            await eventually(partial(site.is_called_back, task))
    return found


def main() -> None:
    """Print the table; with --modules the modules of each walk, and with --functions their functions, too."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(walks(Path(folder)))
    for name, aim in AIMS.items():
        sys.stdout.write(f"{len(found[name]):3} modules: {name} (aim {aim})\n")
    if {"--modules", "--functions"}.isdisjoint(sys.argv):
        return
    for name in AIMS:
        sys.stdout.write(f"\n{name}\n")
        for module, functions in sorted(found[name].items()):
            named = f": {', '.join(sorted(functions))}" if "--functions" in sys.argv else ""
            sys.stdout.write(f"  {module}{named}\n")


if __name__ == "__main__":
    main()
