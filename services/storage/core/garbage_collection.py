"""Garbage collection: finds bytes without a row and orphaned variants, and deletes them on request.

A bucket may hold files of other programs, of an older site or backups. Bytes without a row are ours only if exactly
these bytes were announced before the put (core/registration.py); all other bytes are reported and left as they are.
"""

from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import invalid_field
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
)
from services.storage.core.verification import ROWLESS
from services.storage.model import Filter, ListedObject, StoredObject
from services.storage.ports import Backend, ObjectStore

DEFAULT_AGE, LEAST_AGE = 86_400.0, 3600.0  # seconds; an hour is beyond every upload, import and link


class GarbageCollection:
    """Garbage collection over all rows and objects."""

    def __init__(self, backend: Backend, database: Database, store: ObjectStore, clock: Clock) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._clock = clock

    async def run(self, age_seconds: float, *, delete: bool) -> AsyncIterator[Progress]:
        """Scan all keys.

        Raises:
            InvalidArgument: the age is below LEAST_AGE: younger bytes may belong to an upload that is not complete.
        """
        if age_seconds < LEAST_AGE:
            sentence = "Garbage must be at least an hour old: what is younger may still be on its way in."
            raise invalid_field("min_age", sentence)
        counts, before = ScanCounts(*await self._database.read(self._store.totals)), self._clock() / 1000 - age_seconds

        async def check(found: RowAndObject) -> ScanResult | None:
            return await self._check(*found, before, delete=delete)

        known = rows(self._database, self._store)
        async for progress in scanned(rows_and_objects(known, self._backend.keys("")), check, counts):
            yield progress
        yield counts.progress(complete=True)

    async def _check(
        self, row: StoredObject | None, listed: ListedObject | None, before: float, *, delete: bool
    ) -> ScanResult | None:
        if row:
            return await self._derived(row, before, delete=delete)
        if listed is None or listed.modified > before:
            return None
        if listed.key.startswith(f"{keys.PENDING}/"):
            return await self._unconfirmed(listed, delete=delete)
        if listed.key.startswith(ROWLESS) or await is_kept(self._database, self._store, listed.key):
            return None
        return await self._rowless(listed, delete=delete)

    async def _rowless(self, listed: ListedObject, *, delete: bool) -> ScanResult | None:
        if not await self._is_ours(listed):
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_OURS)
        return await self._report_rowless(listed, delete=delete)

    async def _is_ours(self, listed: ListedObject) -> bool:
        announced = await self._database.read(self._store.announced, listed.key)
        return bool(announced and announced.size == listed.size and await self._backend.stat(listed.key) == announced)

    async def _unconfirmed(self, listed: ListedObject, *, delete: bool) -> ScanResult:
        if not keys.is_pending(listed.key):
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_OURS)
        if delete:
            await self._backend.delete(listed.key)
        return ScanResult(listed.key, listed.size, changed=True, problem=Problem.NOT_CONFIRMED)

    async def _report_rowless(self, listed: ListedObject, *, delete: bool) -> ScanResult | None:
        """Report or delete bytes without a row. Whoever writes the row checks them afterwards (registration.py)."""
        if delete and not await self._removed(listed.key):
            return None
        return ScanResult(listed.key, listed.size, changed=True, problem=Problem.ROW_MISSING)

    async def _removed(self, key: str) -> bool:
        """Delete bytes, and put them back when their row was written meanwhile."""
        async with self._backend.spool() as spare:
            async for chunk in self._backend.read(key, 0, 0):
                await spare.write(chunk)
            if await self._database.read(self._store.get, key):
                return False
            await self._backend.delete(key)
            row = await self._database.read(self._store.get, key)
            if row:
                await self._backend.put(key, spare, row.metadata)
            else:
                await self._database.write(self._store.withdraw, key)
        return row is None

    async def _derived(self, row: StoredObject, before: float, *, delete: bool) -> ScanResult:
        if row.create_ms / 1000 > before or not await self._orphaned(row.key):
            return ScanResult(row.key, row.size)
        if delete:  # the bytes first, so that a failure in between can be repeated
            await self._backend.delete(row.key)
            await self._database.write(self._store.delete, row.key)
        return ScanResult(row.key, row.size, changed=True, problem=Problem.ORIGINAL_GONE)

    async def _orphaned(self, key: str) -> bool:
        """Whether a key is that of a variant or thumbnail whose original is deleted."""
        if key.startswith(f"{keys.VARIANTS}/"):
            original = key.removeprefix(f"{keys.VARIANTS}/").rpartition("/")[0]
            return await self._database.read(self._store.get, original) is None
        if key.startswith(f"{keys.THUMBS}/"):
            originals = Filter(f"{keys.ARTWORKS}/{PurePosixPath(key).stem}.")
            return not await self._database.read(self._store.list, originals, None, 1)
        return False
