"""Variants: smaller pictures of stored ones, each made once and kept; artworks get a thumbnail unasked.

Everyone may have a few presets made, so that a picture has a bounded number of variants. A signed URL permits any size.
"""

import base64
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    KawaiiError,
    NotFound,
    PermissionDenied,
    Unavailable,
    invalid_field,
)
from services.chassis.names import is_key
from services.chassis.signing_keys import PurposeKeys
from services.chassis.single_flight import SingleFlight
from services.storage.core import keys
from services.storage.core.deletion import ObjectDeletion
from services.storage.core.inspection import spool_all
from services.storage.core.registration import CROWDED, put, register
from services.storage.core.scan import rows
from services.storage.model import (
    JPEG,
    PICTURE_TYPES,
    PNG,
    WEBP,
    Derivative,
    PictureType,
    Source,
    Stat,
    StoredObject,
    VariantSpec,
    VariantWish,
)
from services.storage.ports import CHUNK_BYTES, Backend, DecoderPool, ObjectStore

WIDTHS = (64, 128, 256, 512, 1024, 2048)  # thumbnails, tiles and screens: 42 variants of a picture with what follows
QUALITIES = (50, 70, 90)  # of JPEG and WebP; a PNG has none
LEAST_QUALITY, MOST_QUALITY = 30, 100  # that may be signed
DEFAULT_QUALITY = 70  # docs/rest.md#small-pictures
MAX_SIGNED_SIDE = 4096  # sixteen megapixels are no longer a smaller picture
KINDS = {kind.extension: kind for kind in (WEBP, JPEG, PNG)} | {"jpeg": JPEG}
THUMBNAIL = VariantSpec(512, 512, 85, WEBP)  # docs/storage.md#keys


class VariantPresets:
    """Decides which variants may be made: a few presets for everyone, any size for the holder of a signed URL.

    Signatures are HMAC-SHA256.
    """

    def __init__(self, keys: PurposeKeys) -> None:
        self._keys = keys

    def of(self, key: str, wish: VariantWish, original_width: int = 0) -> VariantSpec:
        """The least preset that serves a wish, or exactly what was signed; never wider than needed for the original.

        Raises:
            InvalidArgument: a size is out of bounds, or the format is unknown.
            PermissionDenied: the signature is not ours.
        """
        kind = _kind(wish.extension)
        if not wish.signature:
            width = _preset(WIDTHS, min(wish.width or WIDTHS[-1], original_width or WIDTHS[-1]))
            return VariantSpec(width, 0, _encoded(kind, _preset(QUALITIES, _quality(wish))), kind)
        accepted = map(_text, self._keys.signatures(_message(key, wish)))
        if not any(hmac.compare_digest(text.encode(), wish.signature.encode()) for text in accepted):
            raise PermissionDenied("This picture's URL is not signed by us. Use it as it was given to you.")
        if not 1 <= wish.width <= MAX_SIGNED_SIDE or wish.height > MAX_SIGNED_SIDE:
            raise InvalidArgument(f"A variant has at most {MAX_SIGNED_SIDE} pixels on a side.")
        return VariantSpec(wish.width, wish.height, _encoded(kind, _quality(wish)), kind)

    def signed(self, key: str, wish: VariantWish) -> VariantWish:
        """The wish with its defaults filled in, and the signature that permits it.

        Raises:
            InvalidArgument: a size is out of bounds, or the format is unknown.
        """
        exact = replace(wish, quality=_quality(wish), extension=wish.extension or WEBP.extension)
        permitted = replace(exact, signature=self.signature(key, exact))
        self.of(key, permitted)
        return permitted

    def signature(self, key: str, wish: VariantWish) -> str:
        """The signature of a wish for a variant of an object, safe in a URL."""
        return _text(self._keys.sign(_message(key, wish)))


def _message(key: str, wish: VariantWish) -> bytes:
    fields = ("variant", key, wish.width, wish.height, wish.quality, wish.extension)
    return "\0".join(map(str, fields)).encode()


def _text(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _quality(wish: VariantWish) -> int:
    return min(max(wish.quality or DEFAULT_QUALITY, LEAST_QUALITY), MOST_QUALITY)


def _encoded(kind: PictureType, quality: int) -> int:
    return 0 if kind == PNG else quality


def _kind(extension: str) -> PictureType:
    if kind := KINDS.get(extension or WEBP.extension):
        return kind
    raise invalid_field("format", "A variant is webp, jpeg or png.")


def _preset(presets: Sequence[int], wanted: int) -> int:
    """The least preset that is large enough: browsers scale down well, and up badly."""
    return next((preset for preset in presets if preset >= wanted), presets[-1])


class Variants:
    """Makes variants and thumbnails, and signs variants."""

    def __init__(
        self,
        backend: Backend,
        database: Database,
        store: ObjectStore,
        decoder: DecoderPool,
        presets: VariantPresets,
        *,
        max_bytes: int,
        budget_bytes: int,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._database = database
        self._store = store
        self._decoder = decoder
        self._presets = presets
        self._max_bytes = max_bytes
        self._budget_bytes = budget_bytes
        self._clock = clock
        self._deletion = ObjectDeletion(backend, database, store, clock)
        self._single_flight = SingleFlight[StoredObject](CROWDED)

    async def make(self, key: str, wish: VariantWish) -> StoredObject:
        """The variant of an object that serves a wish; made now if there is none. Of a variant, the variant itself.

        Raises:
            NotFound: there is no such object.
            InvalidArgument: the wish is out of bounds, INVALID_IMAGE, IMAGE_TOO_LARGE.
            PermissionDenied: the wish is signed, but not by us.
            FailedPrecondition: the object's key leaves no room for variants.
            Unavailable: STUDIO_BUSY.
        """
        self._presets.of(key, wish)
        original = await self._original(key)
        if key.startswith(f"{keys.VARIANTS}/"):
            return original
        spec = self._presets.of(key, wish, original.width)
        target = keys.variant(key, spec)
        if not is_key(target):
            raise FailedPrecondition("The picture's name is too long for variants.")
        return await self._made(original, spec, target)

    async def _keep_budget(self, made: StoredObject) -> None:
        """Delete the oldest variants of a picture beyond its budget of bytes; each can be made anew."""
        of_picture = [row async for row in rows(self._database, self._store, f"{made.key.rpartition('/')[0]}/")]
        left = self._budget_bytes - made.size
        for row in sorted(of_picture, key=lambda row: (row.create_ms, row.key), reverse=True):
            left -= row.size if row.key != made.key else 0
            if left < 0 and row.key != made.key:
                await self._deletion.remove(row.key)

    async def sign(self, key: str, wish: VariantWish) -> VariantWish:
        """Permit one variant of any size.

        Raises:
            NotFound: there is no such object.
            InvalidArgument: the wish is out of bounds.
        """
        await self._original(key)
        return self._presets.signed(key, wish)

    async def make_thumb(self, key: str) -> None:
        """Make the thumbnail of an artwork, if there is none. Raises as `make` does."""
        await self._made(await self._original(key), THUMBNAIL, keys.thumb(key))

    async def _original(self, key: str) -> StoredObject:
        if found := await self._database.read(self._store.get, key):
            return found
        raise NotFound("There is no such object.", metadata={"key": key})

    async def _made(self, original: StoredObject, spec: VariantSpec, target: str) -> StoredObject:
        if known := await self._database.read(self._store.get, target):
            return known
        return await self._single_flight.join(target, partial(self._make, original, spec, target))

    async def _make(self, original: StoredObject, spec: VariantSpec, target: str) -> StoredObject:
        kind = _kind_of(original)
        try:
            async with self._at_hand(original) as path:
                made = await self._decoder.derive(path, kind, spec)
        except KawaiiError:
            await self._original(original.key)  # an original that was deleted meanwhile is NotFound, not damaged
            raise
        async with self._backend.spool() as spool:
            await spool_all(_sliced(made.content), spool, self._max_bytes)
            new = _object(target, spec.kind, made, Stat(spool.size, spool.sha256))
            await self._original(original.key)
            if not await put(self._backend, self._database, self._store, new, spool):
                new = _object(target, spec.kind, made, await self._left_there(target))
            kept = await register(self._backend, self._database, self._store, new, spool)
        try:
            await self._original(original.key)
        except NotFound:  # deleted meanwhile, perhaps without seeing this variant
            await self._deletion.remove(target)
            raise
        if target.startswith(f"{keys.VARIANTS}/"):
            await self._keep_budget(kept)
        return kept

    async def _left_there(self, target: str) -> Stat:
        """Size and hash of a variant that another process put without its row, perhaps by another codec version."""
        if stat := await self._backend.stat(target):
            return stat
        raise Unavailable("The variant was replaced at this moment. Try again.", retry_after=1)

    @asynccontextmanager
    async def _at_hand(self, original: StoredObject) -> AsyncIterator[Path]:
        """A local file with the bytes of an object: its own, or a temporary copy."""
        if path := await self._backend.path(original.key):
            yield path
            return
        async with self._backend.spool() as spool:
            await spool_all(self._backend.read(original.key, 0, 0), spool, original.size)
            yield spool.path


def _object(key: str, kind: PictureType, made: Derivative, stat: Stat) -> StoredObject:
    return StoredObject(
        key=key,
        content_type=kind.content_type,
        size=stat.size,
        sha256=stat.sha256,
        source=Source.VARIANT,
        width=made.width,
        height=made.height,
    )


def _kind_of(original: StoredObject) -> PictureType:
    """The type of a stored picture by its row.

    Raises:
        InvalidArgument: INVALID_IMAGE, the type is none that we decode.
    """
    for kind in PICTURE_TYPES:
        if kind.content_type == original.content_type:
            return kind
    raise InvalidArgument("The stored file is not a picture that can be made smaller.", "INVALID_IMAGE")


async def _sliced(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
