"""Upload links: a client PUTs a file to a signed URL, where it waits until it is confirmed and inspected.

The URL ends in a signed token, which the public listener verifies without asking the database.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
    invalid_field,
)
from services.chassis.signing_keys import PurposeKeys
from services.chassis.single_flight import SingleFlight
from services.storage.core import keys
from services.storage.core.inspection import Inspection, Picture, spool_all, too_large
from services.storage.core.registration import CROWDED, is_kept, put, register
from services.storage.model import PICTURE_TYPES, IssuedLink, PictureType, Source, StoredObject, UploadLink
from services.storage.ports import Backend, ObjectStore

SIGNATURE_BYTES = 32  # HMAC-SHA256
REAP_BATCH = 100  # links of one query
REAP_SECONDS = 300.0  # how late abandoned bytes are deleted; each round costs one listing of a folder


@dataclass(frozen=True)
class UploadToken:
    """Permission to upload `size` bytes for a key until a time, in milliseconds since 1970."""

    key: str
    size: int
    expire_ms: int


class UploadTokens:
    """Signs and verifies the tokens of upload links by HMAC-SHA256."""

    def __init__(self, keys: PurposeKeys) -> None:
        self._keys = keys

    def signed(self, token: UploadToken) -> str:
        """The text of a token with its signature in front, safe in a URL."""
        payload = json.dumps([token.key, token.size, token.expire_ms]).encode()
        return base64.urlsafe_b64encode(self._keys.sign(payload) + payload).rstrip(b"=").decode()

    def verified(self, text: str, now_ms: int) -> UploadToken:
        """The token of a text.

        Raises:
            PermissionDenied: the signature is not ours, or the token has expired.
        """
        try:
            signed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            signed = b""
        signature, payload = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
        if not self._keys.verifies(signature, payload):
            raise PermissionDenied("This upload link is not one of ours. Ask for a new one.")
        token = UploadToken(*json.loads(payload))
        if token.expire_ms <= now_ms:
            raise PermissionDenied("This upload link has expired. Ask for a new one.")
        return token


class Uploads:
    """Upload links and the files that were sent to them."""

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        upload_tokens: UploadTokens,
        inspection: Inspection,
        *,
        max_bytes: int,
        lifetime_seconds: int,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._upload_tokens = upload_tokens
        self._inspection = inspection
        self._max_bytes = max_bytes
        self._lifetime = lifetime_seconds
        self._clock = clock
        self._keys = keys.ObjectKeys(clock)
        self._single_flight = SingleFlight[StoredObject](CROWDED)

    async def create(self, original_name: str, content_type: str, size: int) -> IssuedLink:
        """Issue a link for one file of a declared type and size.

        Raises:
            InvalidArgument: the type is no picture's, or the size is not positive or FILE_TOO_LARGE.
        """
        kind = _declared(content_type)
        if size < 1:
            raise invalid_field("size_bytes", "size_bytes must be positive.")
        if size > self._max_bytes:
            raise too_large(self._max_bytes)
        expire_ms = self._clock() + self._lifetime * 1000
        link = UploadLink(self._keys.upload(kind), kind.content_type, size, original_name, expire_ms)
        await self._database.write(self._store.add_link, link)
        token = self._upload_tokens.signed(UploadToken(link.key, link.size, link.expire_ms))
        uri = await self._backend.upload_uri(keys.pending(link.key), kind.content_type, size, self._lifetime)
        return IssuedLink(link, token, uri)

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Store the bytes that the holder of a token sends, under a key that is not public.

        Raises:
            PermissionDenied: the token is not ours or has expired.
            InvalidArgument: FILE_TOO_LARGE or FILE_INCOMPLETE, more or less than was declared; the link stays good.
            AlreadyExists: other bytes were sent to this link before.
        """
        permission = self._upload_tokens.verified(token, self._clock())
        async with self._backend.spool() as spool:
            await spool_all(chunks, spool, permission.size)
            if spool.size < permission.size:  # if kept, it would block the complete file
                sentence = (
                    f"The file has {spool.size} bytes and not the {permission.size} that were declared. Send all."
                )
                raise InvalidArgument(sentence, "FILE_INCOMPLETE")
            if not await self._backend.put(keys.pending(permission.key), spool):
                raise AlreadyExists("This upload link was used for another file. Ask for a new one.")

    async def confirm(self, key: str) -> StoredObject:
        """Inspect the uploaded file and make it an object; repeating it returns the same object.

        Raises:
            NotFound: there is no such link, or it is long expired.
            FailedPrecondition: nothing was uploaded yet.
            InvalidArgument: EMPTY_FILE, INVALID_IMAGE, IMAGE_TOO_LARGE, or another type than was declared.
            Unavailable: STUDIO_BUSY.
        """
        return await self._single_flight.join(key, partial(self._confirm, key))

    async def reap(self) -> None:
        """Remove abandoned spool files, uploads and links, every five minutes, until cancelled."""
        while True:
            with suppress(Unavailable):  # a later round tries again
                await self.reap_once()
            await asyncio.sleep(REAP_SECONDS)

    async def reap_once(self) -> None:
        """Remove abandoned spool files, uploads and links once."""
        before = self._clock() - self._lifetime * 1000
        while expired := await self._database.read(self._store.expired_links, before, REAP_BATCH):
            for key in expired:  # by its link, since others may keep files under our prefix
                await self._backend.delete(keys.pending(key))
                await self._database.write(self._store.delete_link, key)
        await self._backend.reap(self._is_ours)

    async def _is_ours(self, key: str) -> bool:
        """Whether a key is ours: it was announced, has a row, or is that of an upload link."""
        if key.startswith(f"{keys.PENDING}/"):
            return await self._database.read(self._store.get_link, keys.linked(key)) is not None
        announced = await self._database.read(self._store.announced, key)
        return announced is not None or await is_kept(self._database, self._store, key)

    async def _confirm(self, key: str) -> StoredObject:
        if known := await self._database.read(self._store.get, key):
            return known
        link = await self._database.read(self._store.get_link, key)
        if link is None:
            raise NotFound("There is no such upload link. Ask for a new one.")
        if await self._backend.size(keys.pending(key)) is None:
            raise FailedPrecondition("Nothing was sent to the upload link yet. PUT the file first.", "NOT_UPLOADED")
        uploaded = await self._moved(link)
        await self._backend.delete(keys.pending(key))
        return uploaded

    async def _moved(self, link: UploadLink) -> StoredObject:
        async with self._backend.spool() as spool:
            await spool_all(self._backend.read(keys.pending(link.key), 0, 0), spool, link.size)
            async with self._inspection.without_gps(spool) as picture:
                return await self._kept(link, picture)

    async def _kept(self, link: UploadLink, picture: Picture) -> StoredObject:
        if picture.kind.content_type != link.content_type:
            raise InvalidArgument(f"The file is not the {link.content_type} that was declared.", "INVALID_IMAGE")
        new = StoredObject(
            key=link.key,
            content_type=link.content_type,
            size=picture.spool.size,
            sha256=picture.spool.sha256,
            source=Source.UPLOAD,
            original_name=link.original_name,
        )
        uploaded = picture.described(new)
        if not await put(self._backend, self._database, self._store, uploaded, picture.spool):
            uploaded = await self._confirmed_before(uploaded)
        return await register(self._backend, self._database, self._store, uploaded, picture.spool)

    async def _confirmed_before(self, uploaded: StoredObject) -> StoredObject:
        """The object of an earlier confirmation that died before its row, although other bytes were uploaded since."""
        stat = await self._backend.stat(uploaded.key)
        return replace(uploaded, size=stat.size, sha256=stat.sha256) if stat else uploaded


def _declared(content_type: str) -> PictureType:
    for kind in PICTURE_TYPES:
        if kind.content_type == content_type.lower():
            return kind
    sentence = "content_type must be image/png, image/jpeg, image/webp or image/gif."
    raise invalid_field("content_type", sentence, "INVALID_IMAGE")
