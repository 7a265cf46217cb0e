"""Makes smaller pictures of stored ones, each once, and keeps them; artworks get their thumbnail unasked."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from services.chassis.errors import FailedPrecondition, InvalidArgument, KawaiiError, NotFound, Unavailable
from services.chassis.names import is_key
from services.storage.core import keys
from services.storage.core.deletion import Deletion
from services.storage.core.flights import Flights
from services.storage.core.intake import CHUNK_BYTES, pour
from services.storage.core.recipes import THUMBNAIL, Recipes
from services.storage.core.register import put, register
from services.storage.core.walks import rows
from services.storage.model import (
    PICTURE_TYPES,
    Derivative,
    PictureType,
    Recipe,
    Source,
    Stat,
    StoredObject,
    VariantWish,
)
from services.storage.ports import Backend, ObjectStore, Studio

SWEEP_SECONDS = 60.0  # how late a thumbnail may be whose making was cut short
SWEEP_BACK_MS = 24 * 3600 * 1000  # how long it is tried; a picture that cannot be made smaller now never will be
SWEEP_BATCH = 100
MAX_NOTED = 10_000  # older notes fall out and are found by a sweep

logger = structlog.get_logger()


class Variants:
    """The derivatives of stored pictures."""

    def __init__(
        self,
        backend: Backend,
        store: ObjectStore,
        studio: Studio,
        recipes: Recipes,
        *,
        max_bytes: int,
        budget_bytes: int,
        clock: keys.Clock,
    ) -> None:
        self._backend = backend
        self._store = store
        self._studio = studio
        self._recipes = recipes
        self._max_bytes = max_bytes
        self._budget_bytes = budget_bytes
        self._clock = clock
        self._deletion = Deletion(backend, store, clock)
        self._flights = Flights[StoredObject]()
        self._thumbless = deque[str](maxlen=MAX_NOTED)
        self._bell = asyncio.Event()

    async def make(self, key: str, wish: VariantWish) -> StoredObject:
        """The variant of an object that serves a wish; made now if there is none. A variant is its own.

        Raises:
            NotFound: there is no such object.
            InvalidArgument: no such variant can be, INVALID_IMAGE, IMAGE_TOO_LARGE.
            PermissionDenied: the wish is signed, but not by us.
            FailedPrecondition: the object's key leaves no room for variants.
            Unavailable: STUDIO_BUSY.
        """
        self._recipes.of(key, wish)
        original = await self._original(key)
        if key.startswith(f"{keys.VARIANTS}/"):
            return original
        recipe = self._recipes.of(key, wish, original.width)
        target = keys.variant(key, recipe)
        if not is_key(target):
            raise FailedPrecondition("The picture's name is too long for variants.")
        return await self._made(original, recipe, target)

    async def _keep_budget(self, made: StoredObject) -> None:
        """Remove the oldest variants of a picture when all of them are too much; whoever wants one has it made anew."""
        of_picture = [row async for row in rows(self._store, f"{made.key.rpartition('/')[0]}/")]
        left = self._budget_bytes - made.size
        for row in sorted(of_picture, key=lambda row: (row.create_ms, row.key), reverse=True):
            left -= row.size if row.key != made.key else 0
            if left < 0 and row.key != made.key:
                await self._deletion.remove(row.key)

    async def sign(self, key: str, wish: VariantWish) -> VariantWish:
        """Permit one variant of any size.

        Raises:
            NotFound: there is no such object.
            InvalidArgument: no such variant can be.
        """
        await self._original(key)
        return self._recipes.signed(key, wish)

    def wants_thumb(self, stored: StoredObject) -> None:
        """Note an artwork that was just stored."""
        if keys.thumbs_of(stored.key):
            self._thumbless.append(stored.key)
            self._bell.set()

    async def make_thumbs(self) -> None:
        """Make the thumbnails that artworks lack, for ever: of new ones at once, of forgotten ones now and then."""
        while True:
            await self.make_thumbs_once()
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._bell.wait()
            except TimeoutError:
                self._thumbless.extend(await self._store.without_thumb(self._clock() - SWEEP_BACK_MS, SWEEP_BATCH))
            self._bell.clear()

    async def make_thumbs_once(self) -> None:
        """Make those that are noted; one that fails does not stop the others."""
        while self._thumbless:
            key = self._thumbless.popleft()
            try:
                await self._made(await self._original(key), THUMBNAIL, keys.thumb(key))
            except KawaiiError as failure:
                logger.warning("thumbnail_failed", key=key, reason=failure.reason)

    async def _original(self, key: str) -> StoredObject:
        if found := await self._store.get(key):
            return found
        raise NotFound("There is no such object.", metadata={"key": key})

    async def _made(self, original: StoredObject, recipe: Recipe, target: str) -> StoredObject:
        if known := await self._store.get(target):
            return known
        return await self._flights.join(target, partial(self._make, original, recipe, target))

    async def _make(self, original: StoredObject, recipe: Recipe, target: str) -> StoredObject:
        kind = _kind_of(original)
        try:
            async with self._at_hand(original) as path:
                made = await self._studio.derive(path, kind, recipe)
        except KawaiiError:
            await self._original(original.key)  # what was deleted meanwhile is not found, rather than damaged
            raise
        async with self._backend.draft() as draft:
            await pour(_sliced(made.content), draft, self._max_bytes)
            new = _object(target, recipe.kind, made, Stat(draft.size, draft.sha256))
            await self._original(original.key)
            if not await put(self._backend, self._store, new, draft):
                new = _object(target, recipe.kind, made, await self._left_there(target))
            kept = await register(self._backend, self._store, new, draft)
        try:
            await self._original(original.key)
        except NotFound:  # deleted meanwhile, perhaps by one who did not see this variant
            await self._deletion.remove(target)
            raise
        if target.startswith(f"{keys.VARIANTS}/"):
            await self._keep_budget(kept)
        return kept

    async def _left_there(self, target: str) -> Stat:
        """What another version of our codecs put there before its row was written; it serves as well."""
        if stat := await self._backend.stat(target):
            return stat
        raise Unavailable("The variant changed hands at this moment. Try again.", retry_after=1)

    @asynccontextmanager
    async def _at_hand(self, original: StoredObject) -> AsyncIterator[Path]:
        """A file of this machine with the bytes of an object: its own, or a copy for as long as it is needed."""
        if path := await self._backend.path(original.key):
            yield path
            return
        async with self._backend.draft() as draft:
            await pour(self._backend.read(original.key, 0, 0), draft, original.size)
            yield draft.path


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
    """The type of a stored picture, as its row tells.

    Raises:
        InvalidArgument: INVALID_IMAGE, it is none of ours.
    """
    for kind in PICTURE_TYPES:
        if kind.content_type == original.content_type:
            return kind
    raise InvalidArgument("The stored file is not a picture that can be made smaller.", "INVALID_IMAGE")


async def _sliced(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
