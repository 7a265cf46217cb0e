"""Thumbnails of artworks are made by themselves, from a queue that no crash forgets and that the replicas share."""

import asyncio

import pytest

from services.chassis.errors import InvalidArgument, Unavailable
from services.storage.core import Objects
from services.storage.core.thumbnails import TRIED_MS, Thumbnails
from services.storage.model import Filter, StoredObject, UploadSpec
from tests.storage.conftest import clock
from tests.storage.media.builders import gradient, saved
from tests.storage.samples import picture, stream
from tests.support.awaited import Awaited
from tests.support.polling import eventually

ARTWORKS, THUMBS = "artworks/original", "artworks/thumb/"


class BrokenVariants:
    """Variants of which none can be made."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    async def make_thumb(self, key: str) -> None:
        del key
        self.asked += 1
        raise self.error


async def kept(objects: Objects, prefix: str = ARTWORKS, content: bytes = b"") -> StoredObject:
    return await objects.upload(UploadSpec(prefix=prefix), stream([content or picture()]))


async def test_an_artwork_gets_its_thumbnail_by_itself(objects: Objects, thumbnails: Thumbnails) -> None:
    original = await kept(objects, content=saved(gradient(900, 600), "png"))
    await kept(objects, "uploads")
    await thumbnails.make_due()
    uuid = original.key.removeprefix("artworks/original/").removesuffix(".png")

    [thumb] = (await objects.list(Filter(THUMBS), 0, "")).objects
    assert thumb.key == f"{THUMBS}{uuid}.webp"
    assert (thumb.width, thumb.height, thumb.content_type) == (512, 341, "image/webp")
    await objects.delete(original.key)
    assert not (await objects.list(Filter(THUMBS), 0, "")).objects


async def test_a_thumbnail_is_leased_by_one_and_stays_queued_until_it_is_made(
    objects: Objects, thumbnails: Thumbnails, store: Awaited
) -> None:
    first, second = [await kept(objects) for _ in range(2)]
    claimed = await store.claim_thumbs(1, 30)  # by a replica that dies
    assert [piece.id for piece in claimed] == [first.key]

    await thumbnails.make_due()
    assert len(await store.by_key(THUMBS, "", 9)) == 1
    await store.postpone_thumb(first.key, 0)  # as when its lease has run out
    await thumbnails.make_due()
    assert len(await store.by_key(THUMBS, "", 9)) == 2
    assert not await store.any_thumb_due()
    await store.postpone_thumb(second.key, 0)
    assert not await store.any_thumb_due()


async def test_an_artwork_that_an_older_version_stored_is_found(
    objects: Objects, thumbnails: Thumbnails, store: Awaited
) -> None:
    first, second = [await kept(objects) for _ in range(2)]
    await store.end_thumb(first.key)  # as if it had never been queued
    assert await store.without_thumb(0, 9) == (first.key,)
    assert await store.without_thumb(first.create_ms + 1, 9) == ()

    await thumbnails.look_once()
    await thumbnails.make_due()
    assert len(await store.by_key(THUMBS, "", 9)) == 2
    assert await store.without_thumb(second.create_ms, 9) == ()


async def test_the_loop_wakes_for_a_new_artwork(objects: Objects, thumbnails: Thumbnails, store: Awaited) -> None:
    looping = asyncio.create_task(thumbnails.run())
    await kept(objects)

    async def made() -> bool:
        return [row.width for row in await store.by_key(THUMBS, "", 9)] == [4]

    await eventually(made)
    looping.cancel()
    await asyncio.gather(looping, return_exceptions=True)


async def test_one_artwork_that_is_gone_does_not_hold_up_the_next(
    objects: Objects, thumbnails: Thumbnails, store: Awaited
) -> None:
    gone = await kept(objects)
    await store.delete(gone.key)
    await kept(objects)
    await thumbnails.make_due()

    assert len(await store.by_key(THUMBS, "", 9)) == 1
    await store.postpone_thumb(gone.key, 0)
    assert not await store.any_thumb_due()


@pytest.mark.parametrize(
    "error", [InvalidArgument("damaged", "INVALID_IMAGE"), Unavailable("busy", "STUDIO_BUSY"), ZeroDivisionError()]
)
async def test_one_that_cannot_be_made_waits_and_is_given_up_after_a_day(
    objects: Objects, store: Awaited, error: Exception
) -> None:
    broken, now = BrokenVariants(error), clock()
    original = await kept(objects)
    failing = Thumbnails(broken, store.database, store.functions, lambda: now)  # type: ignore[arg-type] # one method
    await failing.make_due()

    assert broken.asked == 1
    await store.postpone_thumb(original.key, 0)
    assert await store.any_thumb_due()
    now += TRIED_MS * 2
    await failing.make_due()
    await store.postpone_thumb(original.key, 0)
    assert not await store.any_thumb_due()
    assert broken.asked == 2
