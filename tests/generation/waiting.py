"""Waits until a generation is in a state, or the clock has passed a moment."""

import time

from services.generation.model import Generation, State
from tests.support.awaited import Awaited
from tests.support.polling import eventually


async def after(moment_ms: int) -> None:
    """Return once the wall clock has passed a moment, if only by a little."""

    async def past() -> bool:
        return time.time() > moment_ms / 1000

    await eventually(past)


async def reached(store: Awaited, identifier: str, state: State) -> Generation:
    """The generation once it is in a state."""

    async def there() -> bool:
        return (await store.get(identifier)).state is state

    await eventually(there)
    return await store.get(identifier)
