"""Takes in objects that another town exported, under the keys they had there."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from services.chassis.errors import AlreadyExists, InvalidArgument
from services.storage.core import keys
from services.storage.core.intake import Intake, pour
from services.storage.core.register import put, register
from services.storage.model import Lane, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

SKEW_MS = 5_000  # the clocks of two machines differ a little: a record that is just made is not from the future
PREFIXES = tuple(f"{prefix}/" for prefix in (keys.UPLOADS, keys.GENERATED, keys.ARTWORKS))  # all else can be made again


class Restorer:
    """The way in for exported objects."""

    def __init__(
        self,
        backend: Backend,
        store: ObjectStore,
        intake: Intake,
        max_bytes: int,
        *,
        on_restored: Callable[[StoredObject], None],
        clock: keys.Clock,
    ) -> None:
        self._backend = backend
        self._store = store
        self._intake = intake
        self._max_bytes = max_bytes
        self._on_restored = on_restored
        self._clock = clock

    async def restore(self, record: StoredObject, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Keep an object as it was elsewhere; repeating it returns what is here.

        Raises:
            InvalidArgument: its key is none of an original, its time lies in the future, its bytes are not those of the
                record (HASH_DIFFERS), or no picture.
            AlreadyExists: the key, or the generation's picture, is another here.
            Unavailable: STUDIO_BUSY.
        """
        if not record.key.startswith(PREFIXES):
            raise InvalidArgument("Only originals can be taken in.", metadata={"field": "name"})
        if record.create_ms > self._clock() + SKEW_MS:
            raise InvalidArgument("create_time must not be in the future.", metadata={"field": "create_time"})
        async with self._backend.draft() as draft:
            await pour(chunks, draft, self._max_bytes)
            if Stat(draft.size, draft.sha256) != Stat(record.size, record.sha256):
                raise InvalidArgument("The bytes are not those of the record. Export it anew.", "HASH_DIFFERS")
            picture = await self._intake.judged(draft, Lane.CLIENTS)
            described = picture.described(replace(record, content_type=picture.kind.content_type))
            if not await put(self._backend, self._store, described, draft, named=True):
                raise AlreadyExists("Another file has this key here.")
            kept = await register(self._backend, self._store, described, draft)
        if kept.key != record.key:
            raise AlreadyExists(f"This picture is here already, as {kept.key}.")
        self._on_restored(kept)  # a sweep for thumbnails looks at new objects only
        return kept
