"""Deletes objects with all that was derived from them: first a tombstone, then the bytes, so that nothing comes back.

Whoever derives from an object looks for it once more after the derivative has its row, and withdraws it when the object
is gone (core.variants); whoever deletes lists the derivatives after the tombstone stands. So one of the two sees the
other. A process that dies between bytes and row leaves bytes that neither saw: they go when the tombstone is old.
"""

import asyncio
from contextlib import suppress

from services.chassis.errors import NotFound, Unavailable
from services.storage.core import keys
from services.storage.core.walks import rows
from services.storage.ports import Backend, ObjectStore

ROUND_SECONDS = 60.0  # how late a deletion goes on that a failure cut short
TOMBSTONE_MS = 3_600_000  # longer than anybody may be at work on a derivative
BATCH = 100  # tombstones of a round


class Deletion:
    """What removes objects."""

    def __init__(self, backend: Backend, store: ObjectStore, clock: keys.Clock) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    async def delete(self, key: str) -> None:
        """Remove an object and what was derived from it; after a failure it may be repeated, and goes on by itself.

        Raises:
            NotFound: there is no such object.
        """
        if not await self._store.bury(key):
            raise NotFound("There is no such object.", metadata={"key": key})
        await self._sweep(key)
        await self._store.swept(key)

    async def run(self) -> None:
        """End what was cut short and look again after old deletions, now and then for ever."""
        while True:
            with suppress(Unavailable):  # what is down now is swept in a later round
                await self.run_once()
            await asyncio.sleep(ROUND_SECONDS)

    async def run_once(self) -> None:
        """Look after the tombstones that are due."""
        for key in await self._store.tombstones(self._clock() - TOMBSTONE_MS, BATCH):
            await self._sweep(key)
            await self._store.forget(key)

    async def _sweep(self, key: str) -> None:
        """Remove the bytes of an object, its derivatives and their rows, whether they have rows or not."""
        prefix = keys.variants_of(key)
        doomed = [row.key async for row in rows(self._store, prefix)]
        doomed += [listed.key async for listed in self._backend.keys(prefix)]
        for derived in dict.fromkeys([*doomed, *keys.thumbs_of(key)]):
            await self.remove(derived)
        await self._backend.delete(key)
        await self._store.withdraw(key)

    async def remove(self, derived: str) -> None:
        """Remove one derivative: the bytes first, so that a failure in between can be repeated."""
        await self._backend.delete(derived)
        await self._store.delete(derived)
        await self._store.withdraw(derived)
