"""Finds what nobody needs any more and removes it if told to; what a row references is never removed.

A bucket may hold files of others, an older site's and anybody's backups. Bytes without a row are ours only if we
announced just these bytes before we put them (core.register); all others are named and left as they are.
"""

from collections.abc import AsyncIterator
from pathlib import PurePosixPath

from services.chassis.errors import InvalidArgument
from services.storage.core import keys
from services.storage.core.tally import Look, Problem, Progress, Tally
from services.storage.core.verification import ROWLESS
from services.storage.core.walks import Pair, paired, rows, walked
from services.storage.model import Filter, Listed, StoredObject
from services.storage.ports import Backend, ObjectStore

DEFAULT_AGE, LEAST_AGE = 86_400.0, 3600.0  # seconds; an hour is beyond every upload, import and link


class Garbage:
    """The sweeper that operators call."""

    def __init__(self, backend: Backend, store: ObjectStore, clock: keys.Clock) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    async def run(self, age_seconds: float, *, delete: bool) -> AsyncIterator[Progress]:
        """Look at every key there is.

        Raises:
            InvalidArgument: the age is below LEAST_AGE; what is younger may be on its way in.
        """
        if age_seconds < LEAST_AGE:
            sentence = "Garbage must be at least an hour old: what is younger may still be on its way in."
            raise InvalidArgument(sentence, metadata={"field": "min_age"})
        tally, before = Tally(*await self._store.totals()), self._clock() / 1000 - age_seconds

        async def look(pair: Pair) -> Look | None:
            return await self._look(*pair, before, delete=delete)

        async for progress in walked(paired(rows(self._store), self._backend.keys("")), look, tally):
            yield progress
        yield tally.progress(complete=True)

    async def _look(
        self, row: StoredObject | None, listed: Listed | None, before: float, *, delete: bool
    ) -> Look | None:
        if row:
            return await self._derived(row, before, delete=delete)
        if listed is None or listed.modified > before:
            return None
        if listed.key.startswith(f"{keys.PENDING}/"):
            return await self._unconfirmed(listed, delete=delete)
        if listed.key.startswith(ROWLESS) or await self._store.get(listed.key):
            return None
        return await self._rowless(listed, delete=delete)

    async def _rowless(self, listed: Listed, *, delete: bool) -> Look | None:
        if not await self._is_ours(listed):
            return Look(listed.key, listed.size, problem=Problem.NOT_OURS)
        return await self._stray(listed, delete=delete)

    async def _is_ours(self, listed: Listed) -> bool:
        announced = await self._store.announced(listed.key)
        return bool(announced and announced.size == listed.size and await self._backend.stat(listed.key) == announced)

    async def _unconfirmed(self, listed: Listed, *, delete: bool) -> Look:
        if not keys.is_pending(listed.key):
            return Look(listed.key, listed.size, problem=Problem.NOT_OURS)
        if delete:
            await self._backend.delete(listed.key)
        return Look(listed.key, listed.size, changed=True, problem=Problem.NOT_CONFIRMED)

    async def _stray(self, listed: Listed, *, delete: bool) -> Look | None:
        """Bytes without a row. Whoever writes the row at this moment looks for the bytes afterwards (core.register)."""
        if delete and not await self._removed(listed.key):
            return None
        return Look(listed.key, listed.size, changed=True, problem=Problem.ROW_MISSING)

    async def _removed(self, key: str) -> bool:
        """Remove bytes, and put them back when a row for them was written meanwhile."""
        async with self._backend.draft() as spare:
            async for chunk in self._backend.read(key, 0, 0):
                await spare.write(chunk)
            if await self._store.get(key):
                return False
            await self._backend.delete(key)
            row = await self._store.get(key)
            if row:
                await self._backend.put(key, spare, row.label)
            else:
                await self._store.withdraw(key)
        return row is None

    async def _derived(self, row: StoredObject, before: float, *, delete: bool) -> Look:
        if row.create_ms / 1000 > before or not await self._orphaned(row.key):
            return Look(row.key, row.size)
        if delete:  # the bytes first, so that a failure in between can be repeated
            await self._backend.delete(row.key)
            await self._store.delete(row.key)
        return Look(row.key, row.size, changed=True, problem=Problem.ORIGINAL_GONE)

    async def _orphaned(self, key: str) -> bool:
        """Whether it is a variant or thumbnail of what is no more."""
        if key.startswith(f"{keys.VARIANTS}/"):
            original = key.removeprefix(f"{keys.VARIANTS}/").rpartition("/")[0]
            return await self._store.get(original) is None
        if key.startswith(f"{keys.THUMBS}/"):
            originals = Filter(f"{keys.ARTWORKS}/{PurePosixPath(key).stem}.")
            return not await self._store.list(originals, None, 1)
        return False
