"""Waits for things to become true, with a deadline instead of a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count

from services.generation.model import Generation, State
from services.generation.ports import GenerationStore

DEADLINE_SECONDS = 20.0  # far above what anything here takes, even on a busy machine
LOOK_SECONDS = 0.01


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in count():
            if await condition():
                return
            await asyncio.sleep(LOOK_SECONDS)


async def after(moment_ms: int) -> None:
    """Return once the wall clock has passed a moment, if only by a little."""

    async def past() -> bool:
        return time.time() > moment_ms / 1000

    await eventually(past)


async def reached(store: GenerationStore, identifier: str, state: State) -> Generation:
    """The generation once it is in a state."""

    async def there() -> bool:
        return (await store.get(identifier)).state is state

    await eventually(there)
    return await store.get(identifier)
