"""Real processes of a service, as many as a test wants, each started as `kawaii serve` starts it."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from grpc import aio

from services.chassis.channels import OPTIONS
from tests.support.polling import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SIGNING_KEY = "a-key-of-the-tests-0123456789-abcdef"


@dataclass(frozen=True)
class Replica:
    """A process that serves, and how it is reached."""

    process: asyncio.subprocess.Process
    port: int
    files_port: int
    metrics_port: int
    channel: aio.Channel

    async def die(self) -> None:
        """Kill it, as a machine that loses power does."""
        self.process.kill()
        await self.process.wait()

    async def metric(self, name: str) -> float:
        """A number of its metrics; 0 for one that it does not show yet."""
        async with httpx.AsyncClient(trust_env=False) as client:
            lines = (await client.get(f"http://127.0.0.1:{self.metrics_port}/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@asynccontextmanager
async def replica(name: str, **environment: str) -> AsyncIterator[Replica]:
    """A process of this name, ready, on ports and a folder of its own unless it is given others."""
    ports = [free_port() for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix=f"kawaii-{name}-", ignore_cleanup_errors=True) as folder:
        process = await start(name, ports, {"DATA_DIR": folder, **environment}, Path(folder, "log"))
        try:
            await eventually(lambda: ready(process, ports[2], Path(folder, "log")))
            async with aio.insecure_channel(f"127.0.0.1:{ports[0]}", options=OPTIONS) as channel:
                yield Replica(process, *ports, channel)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@asynccontextmanager
async def replicas(name: str, number: int = 2, **environment: str) -> AsyncIterator[list[Replica]]:
    """So many processes of this name."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(replica(name, **environment)) for _ in range(number)]


async def refusal(name: str, **environment: str) -> tuple[int | None, str]:
    """The exit code of a process that does not start, and what it says."""
    with tempfile.TemporaryDirectory(prefix=f"kawaii-{name}-") as folder:
        log = Path(folder, "log")
        process = await start(name, [free_port() for _ in range(3)], {"DATA_DIR": folder, **environment}, log)
        try:
            await eventually(lambda: process.returncode is not None)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, await asyncio.to_thread(log.read_text)


async def start(name: str, ports: list[int], given: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    """Start a process, which writes its log to a file."""
    own = dict(zip(("LISTEN_PORT", "FILES_PORT", "METRICS_PORT"), map(str, ports), strict=True))
    common = {"SIGNING_KEY": SIGNING_KEY, "REDIS_URL": "none", "LOG_FORMAT": "json", "PATH": os.environ["PATH"]}
    command = (sys.executable, "-m", "deploy.cli.main", "serve", name)
    with log.open("wb") as errors:
        return await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env={**common, **own, **given}, stderr=errors, stdout=errors
        )


async def ready(process: asyncio.subprocess.Process, port: int, log: Path) -> bool:
    """Whether it answers that it is ready."""
    assert process.returncode is None, await asyncio.to_thread(log.read_text)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
    except httpx.TransportError:
        return False
