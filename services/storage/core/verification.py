"""Proves that every row has its bytes and all bytes have their row, and says which do not."""

from collections.abc import AsyncIterator

from services.storage.core import keys
from services.storage.core.tally import Look, Problem, Progress, Tally
from services.storage.core.walks import Pair, paired, rows, stat_of_bytes, walked
from services.storage.model import Listed, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

# Bytes become visible before their row is written; younger ones may be between the two.
GRACE_SECONDS = 300.0
# Results that older systems left lie without rows, and uploads that wait for their confirmation have none yet.
OLD_RESULTS = "kie-downloads/"
ROWLESS = (OLD_RESULTS, f"{keys.PENDING}/")


class Verification:
    """Compares rows and bytes."""

    def __init__(self, backend: Backend, store: ObjectStore, clock: keys.Clock) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    async def run(self, *, read_bytes: bool) -> AsyncIterator[Progress]:
        """Look at every key there is; with read_bytes, at every byte.

        Whatever looks wrong is looked at again at once: clients go on writing meanwhile.
        """
        tally = Tally(*await self._store.totals())

        async def look(pair: Pair) -> Look | None:
            row, listed = pair
            if row is None or listed is None:
                return await self._alone(row, listed)
            return Look(row.key, listed.size, problem=await self._compared(row, listed, read_bytes=read_bytes))

        async for progress in walked(paired(rows(self._store), self._backend.keys("")), look, tally):
            yield progress
        yield tally.progress(complete=True)

    async def _alone(self, row: StoredObject | None, listed: Listed | None) -> Look | None:
        if listed:
            return await self._without_row(listed)
        return await self._without_bytes(row) if row else None

    async def _without_row(self, listed: Listed) -> Look | None:
        young = listed.modified > self._clock() / 1000 - GRACE_SECONDS
        if young or listed.key.startswith(ROWLESS) or await self._store.get(listed.key):
            return None
        return Look(listed.key, listed.size, problem=Problem.ROW_MISSING)

    async def _without_bytes(self, row: StoredObject) -> Look | None:
        if await self._backend.size(row.key) is not None:
            return Look(row.key, row.size)
        return Look(row.key, 0, problem=Problem.BYTES_MISSING) if await self._store.get(row.key) else None

    async def _compared(self, row: StoredObject, listed: Listed, *, read_bytes: bool) -> Problem | None:
        if row.size != listed.size and not await self._mended(row.key):
            return Problem.SIZE_DIFFERS
        if read_bytes and await stat_of_bytes(self._backend, row.key) != Stat(row.size, row.sha256):
            return None if await self._mended(row.key) else Problem.HASH_DIFFERS
        return None

    async def _mended(self, key: str) -> bool:
        """Whether row and bytes agree now, or the object was deleted."""
        row = await self._store.get(key)
        return row is None or await stat_of_bytes(self._backend, key) == Stat(row.size, row.sha256)
