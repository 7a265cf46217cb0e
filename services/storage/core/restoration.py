"""Restores objects that another installation exported, under the keys they had there."""

from collections.abc import AsyncIterator
from dataclasses import replace

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, InvalidArgument, invalid_field
from services.storage.core import keys
from services.storage.core.inspection import Inspection, spool_all
from services.storage.core.registration import put, register
from services.storage.model import Lane, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

SKEW_MS = 5_000  # tolerated difference of two machines' clocks
PREFIXES = tuple(
    f"{prefix}/" for prefix in (keys.UPLOADS, keys.GENERATED, keys.ARTWORKS)
)  # of originals; everything else can be made again


class Restoration:
    """Restores exported objects."""

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        inspection: Inspection,
        max_bytes: int,
        *,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._inspection = inspection
        self._max_bytes = max_bytes
        self._clock = clock

    async def restore(self, record: StoredObject, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Store an exported object; repeating it returns the stored one.

        Raises:
            InvalidArgument: the key is not that of an original, its time lies in the future, its hash is not that
                of the record (HASH_DIFFERS), or the bytes are no picture.
            AlreadyExists: the key holds another file here, or the generation another picture.
            Unavailable: STUDIO_BUSY.
        """
        if not record.key.startswith(PREFIXES):
            raise invalid_field("name", "Only originals can be taken in.")
        if record.create_ms > self._clock() + SKEW_MS:
            raise invalid_field("create_time", "create_time must not be in the future.")
        async with self._backend.spool() as spool:
            await spool_all(chunks, spool, self._max_bytes)
            if Stat(spool.size, spool.sha256) != Stat(record.size, record.sha256):
                raise InvalidArgument("The bytes are not those of the record. Export it anew.", "HASH_DIFFERS")
            picture = await self._inspection.inspected(spool, Lane.CLIENTS)
            described = picture.described(replace(record, content_type=picture.kind.content_type))
            if not await put(self._backend, self._database, self._store, described, spool, named=True):
                raise AlreadyExists("Another file has this key here.")
            kept = await register(self._backend, self._database, self._store, described, spool)
        if kept.key != record.key:
            raise AlreadyExists(f"This picture is here already, as {kept.key}.")
        # A row with a time of its own, which may be long past, queues none by itself.
        await self._database.write(self._store.queue_thumbs, [kept.key])
        return kept
