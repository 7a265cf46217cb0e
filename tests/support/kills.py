"""A service that is killed behind each of its commits once, between COMMIT and answer, and started again each time."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from grpc import StatusCode, aio

from tests.support.polling import eventually

T = TypeVar("T")
CALL_SECONDS = 30.0
PATIENCE_SECONDS = 400.0  # a few deaths and starts, each of which may take long on a busy machine
PASSING = (StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.DEADLINE_EXCEEDED)


@asynccontextmanager
async def killed_behind_commits(
    start: Callable[..., Awaitable[Process]],
    functions: Sequence[str],
    log: Path,
    before_restart: Callable[[], Awaitable[object]],
) -> AsyncIterator[list[str]]:
    """Run the service by `start`; yields the functions behind whose commit it has been killed so far."""
    killed: list[str] = []

    async def keep_running() -> None:
        while True:
            left = [name for name in functions if name not in killed]
            faults = ",".join(f"commit.{name}:kill:1" for name in left)
            process = await start(FAILPOINT=faults, FAILPOINT_LOG=str(log))
            if await process.wait() != -signal.SIGKILL:
                raise AssertionError(f"the service ended by itself: {process.returncode}")
            killed.append(log.read_text().splitlines()[-1].split()[1].removeprefix("commit."))  # noqa: ASYNC240
            await before_restart()

    running = asyncio.create_task(keep_running())
    try:
        yield killed
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def insisted(call: Callable[[float], Awaitable[T]]) -> T:
    """The answer of a call, given the seconds that it may take, that is repeated as long as the service dies of it."""

    async def tried() -> list[T]:
        try:
            return [await call(CALL_SECONDS)]
        except aio.AioRpcError as error:
            if error.code() not in PASSING:
                raise
            return []

    return (await eventually(tried, PATIENCE_SECONDS))[0]
