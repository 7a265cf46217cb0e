"""Polls a condition until it holds, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

DEADLINE_SECONDS = 20.0  # far above what anything here takes, even on a busy machine
LOOK_SECONDS = 0.01


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in count():
            if await condition():
                return
            await asyncio.sleep(LOOK_SECONDS)
