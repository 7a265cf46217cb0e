"""Deletes objects with their variants and thumbnails: first a tombstone, then the bytes, so that nothing comes back.

Making a variant ends with a second look at the original, and removes the variant when that is gone (core/variants.py);
deleting lists the variants after the tombstone is written. So one of the two sees the other. A process that dies
between putting a variant's bytes and writing its row leaves bytes that neither saw: they are deleted when the tombstone
is old.
"""

import asyncio
from contextlib import suppress

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import NotFound, Unavailable
from services.storage.core import keys
from services.storage.core.scan import rows
from services.storage.ports import Backend, ObjectStore

ROUND_SECONDS = 60.0  # how late a deletion continues that a failure interrupted
TOMBSTONE_MS = 3_600_000  # longer than making a derivative may take
BATCH = 100  # tombstones of a round


class ObjectDeletion:
    """Deletes objects and their derivatives."""

    def __init__(self, backend: Backend, database: Database, store: ObjectStore, clock: Clock) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._clock = clock

    async def delete(self, key: str) -> None:
        """Delete an object and its derivatives. After a failure it may be repeated, and run() completes it.

        Raises:
            NotFound: there is no such object.
        """
        if not await self._database.write(self._store.begin_deletion, key):
            raise NotFound("There is no such object.", metadata={"key": key})
        await self._delete_bytes(key)
        await self._database.write(self._store.end_deletion, key)

    async def run(self) -> None:
        """Complete interrupted deletions, and repeat those of old tombstones, once a minute, until cancelled."""
        while True:
            with suppress(Unavailable):  # a later round tries again
                await self.run_once()
            await asyncio.sleep(ROUND_SECONDS)

    async def run_once(self) -> None:
        """Process the tombstones that are due."""
        for key in await self._database.write(self._store.due_tombstones, self._clock() - TOMBSTONE_MS, BATCH):
            await self._delete_bytes(key)
            await self._database.write(self._store.remove_tombstone, key)

    async def _delete_bytes(self, key: str) -> None:
        """Delete the bytes of an object and its derivatives, with and without rows."""
        prefix = keys.variants_of(key)
        derived = [row.key async for row in rows(self._database, self._store, prefix)]
        derived += [listed.key async for listed in self._backend.keys(prefix)]
        for each in dict.fromkeys([*derived, *keys.thumbs_of(key)]):
            await self.remove(each)
        await self._backend.delete(key)
        await self._database.write(self._store.withdraw, key)

    async def remove(self, derived: str) -> None:
        """Delete one derivative: the bytes first, so that a failure in between can be repeated."""
        await self._backend.delete(derived)
        await self._database.write(self._store.delete, derived)
        await self._database.write(self._store.withdraw, derived)
