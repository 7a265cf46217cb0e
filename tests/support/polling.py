"""Waits until a condition holds, with a deadline instead of a guess."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")
DEADLINE_SECONDS = 60.0  # far above what anything here takes, even on a busy machine
LOOK_SECONDS = 0.01
SLOW_LOOK_SECONDS = 0.05  # of `until`, whose conditions often ask a process


async def eventually(condition: Callable[[], T | Awaitable[T]], seconds: float = DEADLINE_SECONDS) -> T:
    """Wait until a condition holds, while the event loop goes on; its first true result.

    Raises:
        AssertionError: it did not hold in time.
    """
    try:
        async with asyncio.timeout(seconds):
            while not (found := await _result(condition)):  # noqa: ASYNC110 - conditions know no event
                await asyncio.sleep(LOOK_SECONDS)
            return found
    except TimeoutError as late:
        raise AssertionError(f"the condition did not hold within {seconds:.0f} s") from late


async def _result(condition: Callable[[], T | Awaitable[T]]) -> T:
    result = condition()
    return await result if inspect.isawaitable(result) else cast("T", result)


def until(condition: Callable[[], T | None], seconds: float = DEADLINE_SECONDS) -> T:
    """Wait until a condition holds that another thread or process brings about; its first true result.

    Raises:
        AssertionError: it did not hold in time.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"the condition did not hold within {seconds:.0f} s"
        time.sleep(SLOW_LOOK_SECONDS)
    return found
