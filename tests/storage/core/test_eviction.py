"""All variants together keep within a budget of bytes, whoever makes or reads one at that moment."""

import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.storage.backends.local import LocalFiles
from services.storage.core import Objects, Variants
from services.storage.core.eviction import BATCH, SPARE, YOUNG_MS, Eviction
from services.storage.core.thumbnails import Thumbnails
from services.storage.core.variants import WIDTHS, VariantPresets
from services.storage.model import Source, StoredObject, UploadSpec, VariantWish
from services.storage.settings import StorageSettings
from services.storage.stores.sql import SqlObjects
from tests.storage.conftest import clock
from tests.storage.interleaving import Steps
from tests.storage.media.builders import gradient, saved
from tests.storage.samples import InlineDecoder, stream
from tests.support.awaited import Awaited

WIDE = saved(gradient(600, 400), "png")
WISH = VariantWish(width=64)
Make = Callable[[Any, Any], Variants]


@pytest.fixture
def backend_settings(settings: StorageSettings) -> StorageSettings:
    """One backend is enough: the interleaving is above it."""
    return settings


@pytest.fixture
def make(decoder: InlineDecoder, presets: VariantPresets) -> Make:
    def made_by(backend: Any, database: Any) -> Variants:
        bounds = {"max_bytes": 300_000, "budget_bytes": 300_000}
        return Variants(backend, database, SqlObjects(), decoder, presets, **bounds, clock=clock)

    return made_by


def later() -> int:
    """A time at which nothing is young any more."""
    return time.time_ns() // 1_000_000 + YOUNG_MS + 60_000


async def kept(objects: Objects, prefix: str = "uploads") -> StoredObject:
    return await objects.upload(UploadSpec(prefix=prefix), stream([WIDE]))


async def variants_of(store: Awaited, backend: LocalFiles) -> list[StoredObject]:
    """All there are, after proving that each row has its bytes and all bytes have their row."""
    rows = await store.by_key("variants/", "", 9999)
    lying = [(listed.key, listed.size) async for listed in backend.keys("variants/")]
    assert lying == [(row.key, row.size) for row in rows]
    return list(rows)


async def test_the_oldest_go_until_there_is_room_and_nothing_else(
    objects: Objects, variants: Variants, thumbnails: Thumbnails, backend: LocalFiles, store: Awaited
) -> None:
    """More than one batch of them, with an artwork's thumbnail, which is a variant too, and the originals beside."""
    artwork = await kept(objects, "artworks/original")
    await thumbnails.make_due()
    originals = [await kept(objects) for _ in range(BATCH // 6)]
    made = [
        await variants.make(original.key, VariantWish(width, extension=extension))
        for original in originals
        for width in WIDTHS[:4]
        for extension in ("webp", "jpeg")
    ]
    before = await variants_of(store, backend)
    budget = sum(row.size for row in before[: len(before) // 8])
    gone = await Eviction(backend, store.database, store.functions, budget, later).run_once()
    left = await variants_of(store, backend)

    assert BATCH < gone == len(before) - len(left)
    assert sum(row.size for row in left) == await store.variant_bytes() <= budget * (1 - SPARE)
    youngest = sorted(made, key=lambda row: (row.create_ms, row.key))[gone:]
    assert sorted(row.key for row in left) == sorted(row.key for row in youngest)
    assert await store.get(f"artworks/thumb/{artwork.key.split('/')[-1].split('.')[0]}.webp")
    assert all([await objects.get(each.key) for each in (artwork, *originals)])
    assert await Eviction(backend, store.database, store.functions, budget, later).run_once() == 0
    again = await variants.make(originals[0].key, VariantWish(64))
    assert await content(objects, again.key)


async def content(objects: Objects, key: str) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key, 0, 0)])


@pytest.mark.parametrize("budget", [0, 10**9])
async def test_within_the_budget_and_without_one_everything_stays(
    objects: Objects, variants: Variants, backend: LocalFiles, store: Awaited, budget: int
) -> None:
    await variants.make((await kept(objects)).key, WISH)

    assert await Eviction(backend, store.database, store.functions, budget, later).run_once() == 0
    assert len(await variants_of(store, backend)) == 1


async def test_a_budget_that_is_used_up_exactly_is_kept(
    objects: Objects, variants: Variants, backend: LocalFiles, store: Awaited
) -> None:
    made = await variants.make((await kept(objects)).key, WISH)

    assert await Eviction(backend, store.database, store.functions, made.size, later).run_once() == 0
    assert await Eviction(backend, store.database, store.functions, made.size - 1, later).run_once() == 1


async def test_what_was_just_made_stays_since_somebody_is_about_to_read_it(
    objects: Objects, variants: Variants, backend: LocalFiles, store: Awaited
) -> None:
    await variants.make((await kept(objects)).key, WISH)

    assert await Eviction(backend, store.database, store.functions, 1, clock).run_once() == 0


async def test_whoever_reads_a_variant_that_goes_has_all_of_it(
    objects: Objects, variants: Variants, backend: LocalFiles, store: Awaited
) -> None:
    made = await variants.make((await kept(objects)).key, VariantWish(512, extension="png"))
    whole = await content(objects, made.key)
    reading: AsyncIterator[bytes] = objects.read(made.key, 0, 0)
    read = await anext(reading)
    assert await Eviction(backend, store.database, store.functions, 1, later).run_once() == 1
    async for chunk in reading:
        read += chunk

    assert read == whole
    assert await variants_of(store, backend) == []


@pytest.mark.parametrize("old", [True, False])
async def test_an_eviction_at_each_await_of_asking_for_a_variant_loses_none(
    objects: Objects, backend: LocalFiles, store: Awaited, make: Make, *, old: bool
) -> None:
    """An old one goes meanwhile; a new one does not, since it is young until long after it was made."""
    original = await kept(objects)
    for at in itertools.count(1):
        if old:
            await make(backend, store.database).make(original.key, WISH)
        steps = Steps(at, Eviction(backend, store.database, store.functions, 1, later if old else clock).run_once)
        await make(steps.around(backend), steps.around(store.database)).make(original.key, WISH)
        await settled(objects, backend, store, make, original)
        if not steps.reached:
            break

    assert at > (3 if old else 8)


async def test_making_a_variant_at_each_await_of_its_eviction_loses_none(
    objects: Objects, backend: LocalFiles, store: Awaited, make: Make
) -> None:
    original = await kept(objects)
    for at in itertools.count(1):
        await make(backend, store.database).make(original.key, WISH)
        steps = Steps(at, lambda: make(backend, store.database).make(original.key, WISH))
        await Eviction(steps.around(backend), steps.around(store.database), store.functions, 1, later).run_once()
        await settled(objects, backend, store, make, original)
        if not steps.reached:
            break

    assert at > 5


async def settled(objects: Objects, backend: LocalFiles, store: Awaited, make: Make, original: StoredObject) -> None:
    """Rows and bytes agree, the variant can be had, and all are gone at the end."""
    await variants_of(store, backend)
    made = await make(backend, store.database).make(original.key, WISH)
    assert len(await content(objects, made.key)) == made.size
    assert made.source == Source.VARIANT
    await Eviction(backend, store.database, store.functions, 1, later).run_once()
    assert await variants_of(store, backend) == []
