"""Imports pictures by URL, each once: by generation and index, or by source and wished name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.errors import InvalidArgument, KawaiiError, NotFound, Unavailable
from services.chassis.single_flight import SingleFlight
from services.storage.core import keys
from services.storage.core.inspection import Inspection, Picture, spool_all
from services.storage.core.registration import CROWDED, put, register
from services.storage.model import PICTURE_TYPES, ImportOrder, PictureType, Source, StoredObject
from services.storage.ports import Backend, Fetcher, ObjectStore, Spool


class Imports:
    """Finds, adopts or fetches the picture of an import order."""

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        fetcher: Fetcher,
        inspection: Inspection,
        *,
        make_keys: keys.ObjectKeys,
        max_bytes: int,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self._inspection = inspection
        self._keys = make_keys
        self._max_bytes = max_bytes
        self._single_flight = SingleFlight[StoredObject](CROWDED)

    async def run(self, order: ImportOrder) -> StoredObject:
        """Import a picture; equal orders share one fetch. An order with a fresher link is another order."""
        return await self._single_flight.join(order, partial(self._run, order))

    async def _run(self, order: ImportOrder) -> StoredObject:
        return await self._known(order) or await self._adopted(order) or await self._fetched(order)

    async def _known(self, order: ImportOrder) -> StoredObject | None:
        if order.generation_id:
            return await self._database.read(self._store.of_generation, order.generation_id, order.index)
        return await self._database.read(self._store.of_source, order.source_uri, order.alias)

    async def _adopted(self, order: ImportOrder) -> StoredObject | None:
        """Write the row of bytes that a crash left without one: they are whole, and their source may be gone by now."""
        kinds = PICTURE_TYPES if order.generation_id else ()
        for kind in kinds:
            key = keys.of_generation(order.generation_id, order.index, kind, order.file_stem)
            if stat := await self._backend.stat(key):
                return await self._seen(order, key, stat.size)
        return None

    async def _seen(self, order: ImportOrder, key: str, size: int) -> StoredObject:
        """Inspect the bytes under a key and write their row."""
        async with self._backend.spool() as spool:
            await spool_all(self._backend.read(key, 0, 0), spool, size)
            found = _object(order, key, await self._inspection.inspected(spool))
            return await register(self._backend, self._database, self._store, found, spool)

    async def _fetched(self, order: ImportOrder) -> StoredObject:
        """Copy from the first URL that has the picture. Raises Unavailable while any of them may work later."""
        failures: list[KawaiiError] = []
        for uri in order.candidates:
            try:
                return await self._copy(order, uri)
            except (InvalidArgument, NotFound, Unavailable) as failure:
                failures.append(failure)
        raise next((failure for failure in failures if isinstance(failure, Unavailable)), failures[-1])

    async def _copy(self, order: ImportOrder, uri: str) -> StoredObject:
        async with self._backend.spool() as spool:
            async with self._fetcher.fetch(uri) as chunks:
                await spool_all(chunks, spool, self._max_bytes)
            await failpoints.reach("download.done")
            async with self._inspected(order, spool) as picture:
                if put := await self._put(order, picture):
                    return await register(self._backend, self._database, self._store, put, picture.spool)
            return await self._kept_first(order)

    @asynccontextmanager
    async def _inspected(self, order: ImportOrder, spool: Spool) -> AsyncIterator[Picture]:
        """Inspect a result, whose bytes stay, or a client's import, from which GPS data is removed."""
        if order.generation_id:
            yield await self._inspection.inspected(spool)
            return
        async with self._inspection.without_gps(spool) as picture:
            yield picture

    async def _put(self, order: ImportOrder, picture: Picture) -> StoredObject | None:
        """Put the picture under the first free key; None when the generation already has another picture."""
        for key in self._wishes(order, picture.kind):
            imported = _object(order, key, picture)
            named = not order.generation_id and bool(order.file_name)
            if await put(self._backend, self._database, self._store, imported, picture.spool, named=named):
                return imported
        return None

    def _wishes(self, order: ImportOrder, kind: PictureType) -> tuple[str, ...]:
        if order.generation_id:
            return (keys.of_generation(order.generation_id, order.index, kind, order.file_stem),)
        if stem := keys.stem_of(order.file_name, order.task_id):
            return keys.of_name(stem, kind), keys.twin_of_name(stem, kind)
        return (self._keys.anonymous(kind),)

    async def _kept_first(self, order: ImportOrder) -> StoredObject:
        """The copy that another process made meanwhile: the first one stays."""
        found = await self._known(order) or await self._adopted(order)
        if found:
            return found
        raise Unavailable("The picture's key was taken at this moment. Try again.", retry_after=1)


def _object(order: ImportOrder, key: str, picture: Picture) -> StoredObject:
    new = StoredObject(
        key=key,
        content_type=picture.kind.content_type,
        size=picture.spool.size,
        sha256=picture.spool.sha256,
        source=Source.KIE_DOWNLOAD if order.generation_id else Source.IMPORT,
        generation_id=order.generation_id or order.task_id or None,
        index=order.index if order.generation_id else None,
        original_name=order.file_name,
        source_uri=order.source_uri,
    )
    return picture.described(new)
