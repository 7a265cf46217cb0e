"""The services that operators' commands talk to, as processes of their own, and the commands as they are typed."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.chassis.addresses import ListenPort
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
from tests.support.ports import free_base

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("generation", "storage", "share")
PORTS = (ListenPort.GENERATION, ListenPort.STORAGE, ListenPort.SHARE, ListenPort.FILES)
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Output:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Its lines, each as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Stack:
    """A stack: its data, its ports, and its processes' other variables."""

    folder: Path
    base: int
    more: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """What its processes and its operator's commands read."""
        own = {"DATA_DIR": str(self.folder), "INTERNAL_PORT_BASE": str(self.base), "REDIS_URL": "none"}
        return {"PATH": os.environ["PATH"], **own, "KIE_AI_API_KEY": "a-key", **dict(self.more)}

    @property
    def settings(self) -> CommonSettings:
        """The same for our own process."""
        url = dict(self.more).get("DATABASE_URL", "")
        return CommonSettings(data_dir=self.folder, internal_port_base=self.base, database_url=url, _env_file=None)

    @property
    def files(self) -> str:
        """Where its public files are served."""
        return f"http://{self.settings.address(ListenPort.FILES)}/files"

    async def kawaii(self, *words: str) -> Output:
        """Run the command to its end."""
        command = (sys.executable, "-m", "deploy.cli.main", *words)
        process = await asyncio.create_subprocess_exec(*command, env=self.environment, stdout=PIPE, stderr=PIPE)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        return Output(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def opened(folder: Path, services: tuple[str, ...] = SERVICES, **more: str) -> AsyncIterator[Stack]:
    """A stack with these services, serving."""
    stack = Stack(folder, free_base(), tuple(more.items()))
    async with AsyncExitStack() as exits:
        for service in services:
            await asyncio.to_thread(migrate, service, stack.settings)
        for starting in [await exits.enter_async_context(_started(stack, service)) for service in services]:
            await starting
        yield stack


@asynccontextmanager
async def _started(stack: Stack, service: str) -> AsyncIterator[Awaitable[None]]:
    """A service that starts, and what waits until it serves: the others start meanwhile."""
    command = (sys.executable, "-m", f"services.{service}")
    process = await asyncio.create_subprocess_exec(*command, env=stack.environment, stderr=PIPE, cwd=REPOSITORY)
    try:
        yield _serving(process)
    finally:
        process.terminate()
        await process.communicate()


async def _serving(process: Process) -> None:
    assert process.stderr
    async with asyncio.timeout(PATIENCE_SECONDS):
        while b"serving" not in await process.stderr.readline():
            assert not process.stderr.at_eof()
