"""The prune worker: deletes events that every consumer had time to read, and callbacks that were processed.

It reads before it writes, so that an idle stack writes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.chassis.database import Database
from services.generation.ports import GenerationStore, Inbox
from services.generation.timing import Timing, jittered

PRUNE_SECONDS = 600.0  # rows that are kept for weeks may stay ten minutes longer
BATCH = 500  # rows of one transaction: a few milliseconds, so that writers do not feel it

# Deletes at most so many rows older than so many seconds, the oldest first, and says how many it found.
Prune = Callable[[float, int], Awaitable[int]]

logger = structlog.get_logger()


class Pruner:
    """Deletes old rows of the outbox and the inbox."""

    def __init__(self, database: Database, store: GenerationStore, inbox: Inbox, timing: Timing) -> None:
        self._database = database
        self._store = store
        self._inbox = inbox
        self._timing = timing

    async def run(self) -> None:
        """Prune every PRUNE_SECONDS, for ever."""
        while True:
            await self.prune()
            await asyncio.sleep(jittered(PRUNE_SECONDS))

    async def prune(self) -> None:
        """Delete the rows that are older than their retention. Raises Unavailable."""
        events = await exhausted(self.prune_events, self._timing.keep_events)
        callbacks = await exhausted(self.prune_callbacks, self._timing.keep_callbacks)
        if events or callbacks:
            logger.info("pruned", events=events, callbacks=callbacks)

    async def prune_events(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` events older than `older_than` seconds; how many. Of two at once one may find none."""
        through, count = await self._database.read(self._store.old_events, older_than, limit)
        if count:
            await self._database.write(self._store.delete_events, through)
        return count

    async def prune_callbacks(self, older_than: float, limit: int) -> int:
        """Delete closed callbacks older than `older_than` seconds, and all but the newest without a token; how many."""
        old = await self._database.read(self._inbox.old, older_than, limit)
        if old:
            await self._database.write(self._inbox.delete_closed, old)
        return len(old)


async def exhausted(prune: Prune, older_than: float) -> int:
    """Prune batch by batch until nothing is left; how many rows that were."""
    total = 0
    while found := await prune(older_than, BATCH):
        total += found
        await asyncio.sleep(0)  # tasks that waited for the batch go first
    return total
