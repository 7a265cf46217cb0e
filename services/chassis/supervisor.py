"""Keeps background loops alive: one that crashes is logged and started again, and all end when the service stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from services.chassis.errors import Unavailable

Loop = Callable[[], Awaitable[None]]

RESTART_SECONDS = 1.0  # long enough not to spin on a broken database, short enough to go unnoticed

logger = structlog.get_logger()


async def supervise(loop: Loop) -> None:
    """Run a loop until cancelled, restarting it when it raises. A loop may finish its work before it ends."""
    task = asyncio.current_task()
    while not (task and task.cancelling()):
        try:
            await loop()
        except Unavailable as error:  # a dependency is away, which its adapter has logged already
            logger.warning("loop_waits", loop=getattr(loop, "__qualname__", "loop"), cause=error.message)
        except Exception:
            logger.exception("loop_crashed", loop=getattr(loop, "__qualname__", "loop"))
        await asyncio.sleep(RESTART_SECONDS)


@asynccontextmanager
async def supervised(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Run the loops while inside; at the end cancel them and wait until each has finished its work."""
    tasks = [asyncio.create_task(supervise(loop)) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
