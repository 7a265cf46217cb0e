"""Verifies that every row has its bytes and all bytes have a row, and reports each object where that is not so."""

from collections.abc import AsyncIterator

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.storage.core import keys
from services.storage.core.registration import is_kept
from services.storage.core.scan import (
    Problem,
    Progress,
    RowAndObject,
    ScanCounts,
    ScanResult,
    rows,
    rows_and_objects,
    scanned,
    stat_of_bytes,
)
from services.storage.model import ListedObject, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

# Bytes become visible before their row is written; younger ones may be between the two.
GRACE_SECONDS = 300.0
# Results that older systems left lie without rows, and uploads that wait for their confirmation have none yet.
OLD_RESULTS = "kie-downloads/"
ROWLESS = (OLD_RESULTS, f"{keys.PENDING}/")


class Verification:
    """Compares all rows with all bytes."""

    def __init__(self, backend: Backend, database: Database, store: ObjectStore, clock: Clock) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._clock = clock

    async def run(self, *, read_bytes: bool) -> AsyncIterator[Progress]:
        """Scan all keys; with read_bytes also hash every object.

        Each difference is checked a second time at once: clients go on writing meanwhile.
        """
        counts = ScanCounts(*await self._database.read(self._store.totals))

        async def check(found: RowAndObject) -> ScanResult | None:
            row, listed = found
            if row is None or listed is None:
                return await self._alone(row, listed)
            return ScanResult(row.key, listed.size, problem=await self._compared(row, listed, read_bytes=read_bytes))

        known = rows(self._database, self._store)
        async for progress in scanned(rows_and_objects(known, self._backend.keys("")), check, counts):
            yield progress
        yield counts.progress(complete=True)

    async def _alone(self, row: StoredObject | None, listed: ListedObject | None) -> ScanResult | None:
        if listed:
            return await self._without_row(listed)
        return await self._without_bytes(row) if row else None

    async def _without_row(self, listed: ListedObject) -> ScanResult | None:
        young = listed.modified > self._clock() / 1000 - GRACE_SECONDS
        if young or listed.key.startswith(ROWLESS) or await is_kept(self._database, self._store, listed.key):
            return None
        return ScanResult(listed.key, listed.size, problem=Problem.ROW_MISSING)

    async def _without_bytes(self, row: StoredObject) -> ScanResult | None:
        if await self._backend.size(row.key) is not None:
            return ScanResult(row.key, row.size)
        has_row = await is_kept(self._database, self._store, row.key)
        return ScanResult(row.key, 0, problem=Problem.BYTES_MISSING) if has_row else None

    async def _compared(self, row: StoredObject, listed: ListedObject, *, read_bytes: bool) -> Problem | None:
        if row.size != listed.size and not await self._mended(row.key):
            return Problem.SIZE_DIFFERS
        if read_bytes and await stat_of_bytes(self._backend, row.key) != Stat(row.size, row.sha256):
            return None if await self._mended(row.key) else Problem.HASH_DIFFERS
        return None

    async def _mended(self, key: str) -> bool:
        """Whether row and bytes agree on a second look, or the object was deleted."""
        row = await self._database.read(self._store.get, key)
        return row is None or await stat_of_bytes(self._backend, key) == Stat(row.size, row.sha256)
