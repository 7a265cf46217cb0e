"""A pool of worker processes that decode pictures: started on demand, ended when idle, replaced when one crashes."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from services.chassis.errors import InvalidArgument, KawaiiError, Unavailable
from services.storage.media import worker_protocol
from services.storage.model import Derivative, Edit, Lane, PictureFacts, PictureType, VariantSpec
from services.storage.settings import StorageSettings

PROGRAM = "services.storage.media.worker"
ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE")  # no secret is among them
CONFINEMENTS = {"seccomp", "landlock"}  # what the kernel can enforce
MAX_JOBS = 500  # of one worker, which bounds its leaks
EXIT_SECONDS = 2.0  # within which a worker ends whose pipe broke

logger = structlog.get_logger()


def busy(sentence: str) -> Unavailable:
    """The error of a pool that is too busy now."""
    return Unavailable(sentence, "STUDIO_BUSY", retry_after=2)


class Worker:
    """One worker process. After a time-out or a broken pipe it is not used again."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.jobs = 0
        self._hello_read = False

    async def do(self, job: dict[str, Any], seconds: float) -> worker_protocol.Message:
        """Send a job and wait for the answer.

        Raises:
            InvalidArgument: the picture is at fault; if it crashed the process, the process has ended.
            Unavailable: the time was up, or the process was killed from outside.
        """
        self.jobs += 1
        try:
            async with asyncio.timeout(seconds):
                head, body = await self._answer(job)
        except TimeoutError:
            raise busy("The picture could not be looked at in time. Try again shortly.") from None
        except (OSError, EOFError, ValueError):
            raise await self._verdict() from None
        if head.get("refused") == worker_protocol.NO_FILE:
            raise busy("The picture went away while it was looked at. Try again shortly.")
        if reason := head.get("refused"):
            raise InvalidArgument(str(head["sentence"]), str(reason))
        return head, body

    async def _answer(self, job: dict[str, Any]) -> worker_protocol.Message:
        writer, reader = self.process.stdin, self.process.stdout
        if writer is None or reader is None:
            raise EOFError
        if not self._hello_read:
            hello, _ = await worker_protocol.receive(reader)
            self._hello_read = True
            if missing := CONFINEMENTS - set(hello["confined"]):
                logger.warning("picture_worker_unconfined", missing=sorted(missing))
        writer.write(worker_protocol.packed(job))
        await writer.drain()
        return await worker_protocol.receive(reader)

    async def _verdict(self) -> KawaiiError:
        """The error for the exit status of the process; one that was killed from outside does not blame the picture."""
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                status = await self.process.wait()
        except TimeoutError:
            status = -signal.SIGKILL
        logger.warning("picture_worker_ended", status=status)
        if status in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            return busy("The picture could not be looked at. Try again shortly.")
        if status == -signal.SIGXCPU:
            return InvalidArgument(
                "The picture takes too long to decode. Save it anew, simpler or smaller.", "IMAGE_TOO_LARGE"
            )
        return InvalidArgument("The picture cannot be decoded. Save it anew and send that.", "INVALID_IMAGE")

    async def end(self) -> None:
        """Kill the process and wait for its end."""
        if self.process.returncode is None:
            self.process.kill()
        if self.process.stdin:
            self.process.stdin.close()
        await self.process.wait()


class ProcessDecoderPool:
    """A DecoderPool in processes of their own."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._slots = {
            Lane.CLIENTS: asyncio.Semaphore(settings.picture_workers),
            Lane.RESULTS: asyncio.Semaphore(settings.picture_result_workers),
        }
        self._idle: list[tuple[Worker, asyncio.TimerHandle]] = []
        self._waiting = Counter[Lane]()
        self._endings: set[asyncio.Task[None]] = set()

    async def inspect(self, path: Path, kind: PictureType, lane: Lane = Lane.CLIENTS) -> PictureFacts:
        """Decode every frame of a file in a worker of the lane."""
        job = {"do": "inspect", "path": str(path), "extension": kind.extension, "places": lane is Lane.CLIENTS}
        head, body = await self._do(job, lane)
        edits, at = [], 0
        for start, stop, size in head.pop("edits"):
            edits.append(Edit(start, stop, body[at : at + size]))
            at += size
        return PictureFacts(**head, edits=tuple(edits))

    async def derive(self, path: Path, kind: PictureType, spec: VariantSpec) -> Derivative:
        """Make a smaller picture in a worker."""
        job = {"do": "derive", "path": str(path), "extension": kind.extension, "box": [spec.width, spec.height]}
        head, content = await self._do(job | {"target": spec.kind.extension, "quality": spec.quality})
        return Derivative(content, head["width"], head["height"])

    async def close(self) -> None:
        """End every worker."""
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            self._retire(worker)
        await asyncio.gather(*self._endings)

    async def _do(self, job: dict[str, Any], lane: Lane = Lane.CLIENTS) -> worker_protocol.Message:
        if self._waiting[lane] >= self._settings.picture_queue:
            raise busy("Too many pictures wait to be looked at. Try again shortly.")
        self._waiting[lane] += 1
        try:
            await self._slots[lane].acquire()
        finally:
            self._waiting[lane] -= 1
        try:
            return await self._by_worker(job)
        finally:
            self._slots[lane].release()

    async def _by_worker(self, job: dict[str, Any]) -> worker_protocol.Message:
        worker = self._take_idle() or await self._start()
        useful = False
        try:
            answer = await worker.do(job, self._settings.picture_seconds)
            useful = True
        except InvalidArgument:
            useful = worker.process.returncode is None
            raise
        finally:
            if useful and worker.jobs < MAX_JOBS:
                self._keep_idle(worker)
            else:
                self._retire(worker)
        return answer

    def _take_idle(self) -> Worker | None:
        while self._idle:
            worker, timer = self._idle.pop()
            timer.cancel()
            if worker.process.returncode is None:
                return worker
        return None

    async def _start(self) -> Worker:
        limits = str(self._settings.picture_memory_bytes), str(self._settings.picture_cpu_seconds)
        folders = map(str, (self._settings.objects_dir.absolute(), self._settings.spool_dir.absolute()))
        inherited = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", PROGRAM, *limits, *folders, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=inherited
        )
        return Worker(process)

    def _keep_idle(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._settings.picture_idle_seconds, self._end_idle, worker)
        self._idle.append((worker, timer))

    def _end_idle(self, worker: Worker) -> None:
        self._idle = [(each, timer) for each, timer in self._idle if each is not worker]
        self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        ending = asyncio.get_running_loop().create_task(worker.end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


@asynccontextmanager
async def open_decoder_pool(settings: StorageSettings) -> AsyncIterator[ProcessDecoderPool]:
    """Open the pool for the life of the process; no worker is started before the first job."""
    decoder_pool = ProcessDecoderPool(settings)
    try:
        yield decoder_pool
    finally:
        await decoder_pool.close()
