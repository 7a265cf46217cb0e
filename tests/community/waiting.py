"""Waits for things to become true, with a deadline instead of a guess."""

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_SECONDS = 20.0  # far above what anything here takes, even on a busy machine
LOOK_SECONDS = 0.01


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            await asyncio.sleep(LOOK_SECONDS)
