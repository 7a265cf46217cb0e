"""Adopts pictures that another system put into our folder or bucket: each gets a row, its bytes stay."""

from collections.abc import AsyncIterator

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import DataLoss, InvalidArgument, invalid_field
from services.chassis.names import is_key
from services.storage.core import keys
from services.storage.core.garbage_collection import LEAST_AGE
from services.storage.core.inspection import Inspection, spool_all
from services.storage.core.registration import add
from services.storage.core.restoration import PREFIXES
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
from services.storage.core.verification import OLD_RESULTS
from services.storage.model import Lane, ListedObject, Source, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

ADOPTED = (*PREFIXES, OLD_RESULTS)  # prefixes under which the seed systems keep public pictures


class Adoption:
    """Writes the missing rows of pictures that were stored by another system."""

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        inspection: Inspection,
        *,
        max_bytes: int,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._inspection = inspection
        self._max_bytes = max_bytes
        self._clock = clock

    async def run(self, prefix: str, *, adopt: bool) -> AsyncIterator[Progress]:
        """Scan the keys below a prefix; without `adopt` only count the objects without a row.

        Raises:
            InvalidArgument: the prefix is none of ADOPTED.
        """
        if prefix and not prefix.startswith(ADOPTED):
            sentence = f"prefix must begin with one of {', '.join(ADOPTED)}."
            raise invalid_field("prefix", sentence)
        counts, before = ScanCounts(0, 0), self._clock() / 1000 - LEAST_AGE

        async def check(found: RowAndObject) -> ScanResult | None:
            row, listed = found
            if row or listed is None or not listed.key.startswith(ADOPTED) or listed.modified > before:
                return None
            return await self._checked(listed, adopt=adopt)

        async for progress in scanned(
            rows_and_objects(rows(self._database, self._store, prefix), self._backend.keys(prefix)), check, counts
        ):
            yield progress
        yield counts.progress(complete=True)

    async def _checked(self, listed: ListedObject, *, adopt: bool) -> ScanResult | None:
        if not is_key(listed.key) or listed.size > self._max_bytes:
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_A_PICTURE)
        if not adopt:
            return ScanResult(listed.key, listed.size, changed=True)
        async with self._backend.spool() as spool:
            try:
                await spool_all(self._backend.read(listed.key, 0, 0), spool, self._max_bytes)
                picture = await self._inspection.inspected(spool, Lane.CLIENTS)
            except DataLoss:  # deleted since it was listed
                return None
            except InvalidArgument:
                return ScanResult(listed.key, listed.size, problem=Problem.NOT_A_PICTURE)
            source = Source.UPLOAD if listed.key.startswith(f"{keys.UPLOADS}/") else Source.IMPORT
            new = StoredObject(listed.key, picture.kind.content_type, spool.size, spool.sha256, source)
            await add(self._database, self._store, picture.described(new))
        if await self._backend.stat(listed.key) != Stat(new.size, new.sha256):  # deleted or changed meanwhile
            await self._database.write(self._store.delete, listed.key)
            return None
        return ScanResult(listed.key, listed.size, changed=True)
