"""What is deleted is gone with all that was made of it, whatever else happens at that very moment."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from services.chassis.errors import KawaiiError, NotFound, Unavailable
from services.storage.backends.local import LocalFiles
from services.storage.core import Objects, Uploads, Variants
from services.storage.core.deletion import TOMBSTONE_MS, ObjectDeletion
from services.storage.core.variants import VariantPresets
from services.storage.model import Stat, StoredObject, UploadSpec, VariantWish
from services.storage.settings import StorageSettings
from services.storage.stores.sql import SqlObjects
from tests.storage.conftest import clock
from tests.storage.core.test_verification import lay
from tests.storage.interleaving import Steps
from tests.storage.media.builders import gradient, saved
from tests.storage.public_listener import browsing
from tests.storage.samples import InlineDecoder, stream
from tests.support.awaited import Awaited

WIDE = saved(gradient(90, 60), "png")
WISHES = (VariantWish(width=64), VariantWish(width=64, extension="jpeg"))


@pytest.fixture
def backend_settings(settings: StorageSettings) -> StorageSettings:
    """One backend is enough: the interleaving is above it."""
    return settings


@pytest.fixture
def deletion(backend: LocalFiles, store: Awaited) -> ObjectDeletion:
    return ObjectDeletion(backend, store.database, store.functions, clock)


async def artwork(objects: Objects) -> StoredObject:
    return await objects.upload(UploadSpec("artworks/original"), stream([WIDE]))


def made_by(backend: Any, database: Any, decoder: Any, presets: VariantPresets) -> Variants:
    """Makes variants; the parts may be counted ones."""
    bounds = {"max_bytes": 300_000, "budget_bytes": 300_000}
    return Variants(backend, database, SqlObjects(), decoder, presets, **bounds, clock=clock)


async def derived(variants: Variants, row: StoredObject) -> None:
    """All that is ever made of an artwork."""
    with suppress(NotFound):
        for wish in WISHES:
            await variants.make(row.key, wish)
    with suppress(KawaiiError):
        await variants.make_thumb(row.key)


async def left(backend: LocalFiles, store: Awaited, uploads: Uploads) -> list[str]:
    """What can still be seen by anybody: every public path, every row, every announcement of bytes."""
    found = [listed.key async for listed in backend.keys("")]
    async with browsing(backend, uploads) as browser:
        answers: list[httpx.Response] = [await browser.get(f"/files/{key}") for key in found]
    shown = [str(answer.url) for answer in answers if answer.status_code != 404]
    return shown + [row.key for row in await store.by_key("", "", 99)]


async def at_each_await(
    work: Callable[[Steps], Awaitable[None]], act: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[None]]
) -> int:
    """Do the work again and again, and act at another await of it each time; how many there were."""
    for at in itertools.count(1):
        steps = Steps(at, act)
        await work(steps)
        if not steps.reached:
            return at - 1
        await check()
    raise AssertionError


async def test_a_deletion_at_each_await_of_deriving_leaves_nothing(
    objects: Objects,
    uploads: Uploads,
    backend: LocalFiles,
    store: Awaited,
    decoder: InlineDecoder,
    presets: VariantPresets,
) -> None:
    rows: list[StoredObject] = []

    async def work(steps: Steps) -> None:
        rows.append(await artwork(objects))
        variants = made_by(steps.around(backend), steps.around(store.database), steps.around(decoder), presets)
        await derived(variants, rows[-1])

    async def act() -> None:
        await objects.delete(rows[-1].key)

    async def check() -> None:
        assert await left(backend, store, uploads) == []

    assert await at_each_await(work, act, check) > 40


async def test_deriving_at_each_await_of_a_deletion_leaves_nothing(
    objects: Objects,
    uploads: Uploads,
    backend: LocalFiles,
    store: Awaited,
    decoder: InlineDecoder,
    presets: VariantPresets,
) -> None:
    rows: list[StoredObject] = []

    async def work(steps: Steps) -> None:
        rows.append(await artwork(objects))
        await made_by(backend, store.database, decoder, presets).make(rows[-1].key, VariantWish(width=128))
        counted = steps.around(backend), steps.around(store.database)
        await ObjectDeletion(*counted, store.functions, clock).delete(rows[-1].key)

    async def act() -> None:
        await derived(made_by(backend, store.database, decoder, presets), rows[-1])

    async def check() -> None:
        assert await left(backend, store, uploads) == []

    assert await at_each_await(work, act, check) > 15


async def test_whoever_wants_a_variant_of_what_is_deleted_at_this_moment_hears_so(
    objects: Objects, backend: LocalFiles, store: SqlObjects, decoder: InlineDecoder, presets: VariantPresets
) -> None:
    """The deletion comes when the variant has its row: its key must not be handed out, since it is gone again."""
    original = await artwork(objects)

    class Meeting:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def size(self, key: str) -> int | None:
            found = await backend.size(key)
            await objects.delete(original.key)
            return found

    with pytest.raises(NotFound):
        await made_by(Meeting(), store.database, decoder, presets).make(original.key, WISHES[0])


async def test_a_deletion_ends_what_a_writer_that_died_had_announced(objects: Objects, store: SqlObjects) -> None:
    """Bytes that somebody else puts there later are not taken for ours."""
    kept = await artwork(objects)
    await store.announce(kept.key, Stat(kept.size, kept.sha256))
    await objects.delete(kept.key)

    assert await store.announced(kept.key) is None


async def test_a_maker_that_dies_between_bytes_and_row_leaves_nothing_for_long(
    objects: Objects,
    uploads: Uploads,
    backend: LocalFiles,
    store: Awaited,
    decoder: InlineDecoder,
    presets: VariantPresets,
) -> None:
    """Killed at any await: a deletion sees what it left, or the look after old tombstones does."""
    rows: list[StoredObject] = []
    later = ObjectDeletion(backend, store.database, store.functions, lambda: clock() + 2 * TOMBSTONE_MS)

    async def work(steps: Steps) -> None:
        rows.append(await artwork(objects))
        with suppress(asyncio.CancelledError):
            variants = made_by(steps.around(backend), steps.around(store.database), steps.around(decoder), presets)
            await variants.make(rows[-1].key, WISHES[0])

    async def act() -> None:
        await objects.delete(rows[-1].key)
        raise asyncio.CancelledError

    async def check() -> None:
        await later.run_once()
        assert await left(backend, store, uploads) == []

    await at_each_await(work, act, check)


class Broken(LocalFiles):
    """A folder that refuses to delete what has such a name."""

    refused = ""

    async def delete(self, key: str) -> None:
        if self.refused and self.refused in key:
            raise Unavailable("The disk is gone.", "STORAGE_DOWN")
        await super().delete(key)


@pytest.mark.parametrize("refused", ["variants", "thumb", "original/"])
async def test_a_deletion_that_was_cut_short_is_gone_at_once_and_goes_on(
    refused: str,
    backend_settings: StorageSettings,
    objects: Objects,
    uploads: Uploads,
    store: Awaited,
    variants: Variants,
) -> None:
    row = await artwork(objects)
    await derived(variants, row)
    broken = Broken(backend_settings.objects_dir)
    broken.refused = refused
    deletion = ObjectDeletion(broken, store.database, store.functions, clock)
    with pytest.raises(Unavailable):
        await deletion.delete(row.key)
    with pytest.raises(NotFound):
        await objects.get(row.key)
    with pytest.raises(NotFound):
        await variants.make(row.key, VariantWish(width=256))
    broken.refused = ""
    await deletion.run_once()

    assert await left(broken, store, uploads) == []
    with pytest.raises(NotFound):
        await deletion.delete(row.key)


async def test_a_deletion_that_failed_may_be_repeated(
    backend_settings: StorageSettings, objects: Objects, uploads: Uploads, store: Awaited
) -> None:
    row = await artwork(objects)
    broken = Broken(backend_settings.objects_dir)
    broken.refused = row.key
    with pytest.raises(KawaiiError):
        await ObjectDeletion(broken, store.database, store.functions, clock).delete(row.key)
    broken.refused = ""
    await ObjectDeletion(broken, store.database, store.functions, clock).delete(row.key)

    assert await left(broken, store, uploads) == []


async def test_more_variants_than_any_list_shows_go_too(
    backend_settings: StorageSettings, objects: Objects, uploads: Uploads, store: Awaited, deletion: ObjectDeletion
) -> None:
    row = await artwork(objects)
    for number in range(1100):
        lay(backend_settings, f"variants/{row.key}/{number}x0q70.webp")
    await deletion.delete(row.key)

    assert await left(LocalFiles(backend_settings.objects_dir), store, uploads) == []
