"""Evicts the oldest variants beyond a budget of bytes for all; any can be made again from its original.

A variant that a client still wants is made anew. A concurrent maker of the same variant wins: bytes are deleted first,
then the row, and bytes that are there again without a row are deleted once more, since only rows are counted.
"""

import asyncio

import structlog

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import KawaiiError
from services.storage.core.deletion import ObjectDeletion
from services.storage.ports import Backend, ObjectStore

ROUND_SECONDS = 60.0  # between two checks of the budget; two decoders make some tens of megabytes a minute
SPARE = 0.1  # share of the budget that is freed beyond it, so that not every round has to evict
BATCH = 100  # variants that are chosen at once
# What was just made is about to be read, and its maker may not be done with it; the budget may be exceeded by it.
YOUNG_MS = 600_000
MOST_LOOKS = 3  # each means that the same variant was made meanwhile

logger = structlog.get_logger()


class Eviction:
    """The loop that removes the oldest variants; with a budget of 0 it removes none."""

    def __init__(
        self, backend: Backend, database: Database, store: ObjectStore, budget_bytes: int, clock: Clock
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._deletion = ObjectDeletion(backend, database, store, clock)
        self._budget_bytes = budget_bytes
        self._clock = clock

    async def run(self) -> None:
        """Evict once a minute, until cancelled."""
        while True:
            try:
                await self.run_once()
            except KawaiiError as failure:  # the next round tries again
                logger.warning("eviction_failed", reason=failure.reason)
            await asyncio.sleep(ROUND_SECONDS)

    async def run_once(self) -> int:
        """Evict variants until the budget is kept, a batch at a time; returns their number.

        Raises:
            Unavailable: the database or the backend is; variants deleted until then stay deleted.
        """
        total, gone = await self._database.read(self._store.variant_bytes), 0
        if not self._budget_bytes or total <= self._budget_bytes:
            return 0
        least = self._budget_bytes - int(self._budget_bytes * SPARE)
        while total > least:
            oldest = await self._database.read(self._store.oldest_variants, self._clock() - YOUNG_MS, BATCH)
            for row in oldest:
                if total <= least:
                    break
                await self._evict(row.key)
                total, gone = total - row.size, gone + 1
            if len(oldest) < BATCH:
                break
        logger.info("variants_evicted", count=gone, bytes_left=total)
        return gone

    async def _evict(self, key: str) -> None:
        await self._deletion.remove(key)
        for _ in range(MOST_LOOKS):
            if await self._database.read(self._store.get, key) or await self._backend.size(key) is None:
                return
            await self._deletion.remove(key)
