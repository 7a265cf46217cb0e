"""Waits for things to become true, with a deadline instead of a guess."""

import asyncio
import time
from collections.abc import Callable

DEADLINE_SECONDS = 20.0  # far above what anything here takes, even on a busy machine
LOOK_SECONDS = 0.01


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(LOOK_SECONDS)


def at_last(condition: Callable[[], object]) -> None:
    """The same outside of a loop."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(LOOK_SECONDS)
