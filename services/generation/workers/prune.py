"""The prune worker: deletes events that every consumer had time to read, and callbacks that were processed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.generation.timing import Timing, jittered

PRUNE_SECONDS = 600.0  # rows that are kept for weeks may stay ten minutes longer
BATCH = 500  # rows of one transaction: a few milliseconds, so that writers do not feel it

# Deletes at most so many rows older than so many seconds, the oldest first, and says how many it found.
Prune = Callable[[float, int], Awaitable[int]]

logger = structlog.get_logger()


class Pruner:
    """Deletes old rows of the outbox and the inbox."""

    def __init__(self, prune_events: Prune, prune_callbacks: Prune, timing: Timing) -> None:
        self._prune_events = prune_events
        self._prune_callbacks = prune_callbacks
        self._timing = timing

    async def run(self) -> None:
        """Prune every PRUNE_SECONDS, for ever."""
        while True:
            await self.prune()
            await asyncio.sleep(jittered(PRUNE_SECONDS))

    async def prune(self) -> None:
        """Delete the rows that are older than their retention. Raises Unavailable."""
        events = await exhausted(self._prune_events, self._timing.keep_events)
        callbacks = await exhausted(self._prune_callbacks, self._timing.keep_callbacks)
        if events or callbacks:
            logger.info("pruned", events=events, callbacks=callbacks)


async def exhausted(prune: Prune, older_than: float) -> int:
    """Prune batch by batch until nothing is left; how many rows that were."""
    total = 0
    while found := await prune(older_than, BATCH):
        total += found
        await asyncio.sleep(0)  # tasks that waited for the batch go first
    return total
