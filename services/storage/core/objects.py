"""Stored objects: uploading, importing, finding, reading, listing and deleting them."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from services.chassis import failpoints, paging
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import Aborted, NotFound, invalid_field
from services.storage.core import keys
from services.storage.core.deletion import ObjectDeletion
from services.storage.core.imports import Imports
from services.storage.core.inspection import Inspection, Picture, spool_all
from services.storage.core.registration import put, register
from services.storage.model import Cursor, Filter, ImportOrder, ObjectPage, Source, StoredObject, UploadSpec
from services.storage.ports import Backend, Fetchers, ObjectStore

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000
MILLISECONDS, KEY = re.compile(r"[0-9]{1,15}"), re.compile(r"[A-Za-z0-9_./-]{1,512}")  # the fields of a page token


@dataclass(frozen=True)
class SizeLimits:
    """The most bytes of a client's file, and of a result."""

    upload_bytes: int
    result_bytes: int


class Objects:
    """The stored objects.

    own_key returns the key that a URL of ours names, or an empty string.
    """

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        fetchers: Fetchers,
        inspection: Inspection,
        *,
        limits: SizeLimits,
        own_key: Callable[[str], str],
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._limits = limits
        self._own_key = own_key
        self._keys = keys.ObjectKeys(clock)
        self._fetchers = fetchers
        self._inspection = inspection
        self._deletion = ObjectDeletion(backend, database, store, clock)
        self._imports, self._copies = (
            Imports(backend, database, store, fetcher, inspection, make_keys=self._keys, max_bytes=limits.result_bytes)
            for fetcher in (fetchers.imports, fetchers.copies)
        )

    async def upload(self, spec: UploadSpec, chunks: AsyncIterator[bytes]) -> StoredObject:
        """Store a file that a client sends.

        Raises:
            InvalidArgument: FILE_TOO_LARGE, EMPTY_FILE, INVALID_IMAGE, IMAGE_TOO_LARGE, or a prefix that is not for
                uploads.
            Unavailable: STUDIO_BUSY.
        """
        prefix = spec.prefix or keys.UPLOADS
        limit = self._limit(prefix)
        async with self._backend.spool() as spool:
            await spool_all(chunks, spool, min(spec.max_bytes or limit, limit))
            async with self._inspection.without_gps(spool) as picture:
                return await self._kept(spec, picture, self._keys.new(prefix, picture.kind))

    async def _kept(self, spec: UploadSpec, picture: Picture, key: str) -> StoredObject:
        new = StoredObject(
            key=key,
            content_type=picture.kind.content_type,
            size=picture.spool.size,
            sha256=picture.spool.sha256,
            source=Source.UPLOAD,
            generation_id=spec.generation_id or None,
            original_name=spec.original_name,
        )
        uploaded = picture.described(new)
        if not await put(self._backend, self._database, self._store, uploaded, picture.spool):
            raise Aborted("Two uploads drew the same key. Send the file again.")
        return await register(self._backend, self._database, self._store, uploaded, picture.spool)

    async def import_(self, order: ImportOrder) -> StoredObject:
        """Store a copy of a URL's picture; the object of a URL of ours is returned without a fetch.

        Raises:
            NotFound: the URL is ours and names nothing, or SOURCE_GONE.
            InvalidArgument: URL_NOT_ALLOWED, INVALID_IMAGE, IMAGE_TOO_LARGE, EMPTY_FILE, FILE_TOO_LARGE.
            Unavailable: SOURCE_UNAVAILABLE, STUDIO_BUSY.
        """
        if key := self._own_key(order.source_uri):
            return await self.get(key)
        lane = self._copies if order.generation_id else self._imports
        kept = await lane.run(order)
        await failpoints.reach("put.reply_lost")
        return kept

    async def check(self, uri: str) -> None:
        """Check a URL that a provider is to fetch for a client, by the rules of our own fetches; our own URLs pass.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """
        if not self._own_key(uri):
            await self._fetchers.imports.check(uri)

    async def get(self, key: str) -> StoredObject:
        """The row of an object.

        Raises:
            NotFound: there is no such object.
        """
        if found := await self._database.read(self._store.get, key):
            return found
        raise NotFound("There is no such object.", metadata={"key": key})

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """The bytes of an object from the offset, at most limit of them; all that follow when the limit is 0.

        Raises:
            NotFound: there is no such object.
            InvalidArgument: the range does not lie within the object.
        """
        found = await self.get(key)
        if not 0 <= offset <= found.size or limit < 0:
            sentence = f"The range must lie within the object's {found.size} bytes."
            raise invalid_field("offset", sentence)
        async for chunk in self._backend.read(key, offset, limit):
            yield chunk

    async def list(self, wanted: Filter, page_size: int, page_token: str) -> ObjectPage:
        """A page of objects, newest first.

        Raises:
            InvalidArgument: the size or the token is wrong.
        """
        size = paging.page_size(page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        before = cursor_of(wanted, page_token)
        found = await self._database.read(self._store.list, wanted, before, size + 1)
        shown = found[:size]
        more = len(found) > size
        return ObjectPage(shown, token_of(wanted, Cursor(shown[-1].create_ms, shown[-1].key)) if more else "")

    async def delete(self, key: str) -> None:
        """Delete an object and its derivatives; after a failure it may be repeated.

        Raises:
            NotFound: there is no such object.
        """
        await self._deletion.delete(key)

    def _limit(self, prefix: str) -> int:
        limits = {keys.GENERATED: self._limits.result_bytes}
        if prefix not in (keys.UPLOADS, keys.GENERATED, keys.ARTWORKS):
            sentence = "prefix must be uploads, generated or artworks/original."
            raise invalid_field("prefix", sentence)
        return limits.get(prefix, self._limits.upload_bytes)


def _cursor(create_ms: str, key: str) -> Cursor:
    if not MILLISECONDS.fullmatch(create_ms) or not KEY.fullmatch(key):
        raise ValueError(key)
    return Cursor(int(create_ms), key)


# Lists of objects give the general reason for a foreign token: clients may know it.
TOKENS = paging.PageTokens(_cursor, separator=":", check=paging.digest_of, reason="INVALID_INPUT")


def token_of(wanted: Filter, last: Cursor) -> str:
    """The token of the page that begins below an object."""
    return TOKENS.token(_listing(wanted), str(last.create_ms), last.key)


def cursor_of(wanted: Filter, token: str) -> Cursor | None:
    """The cursor of a page token; None for the first page.

    Raises:
        InvalidArgument: the token is not ours, or belongs to another filter.
    """
    return TOKENS.position(_listing(wanted), token)


def _listing(wanted: Filter) -> bytes:
    return f"{wanted.prefix}\0{wanted.generation_id}".encode()
