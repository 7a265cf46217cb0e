"""Garbage is named and, with `delete`, removed; an object of a row never is."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from services.chassis.errors import InvalidArgument
from services.storage.backends.local import LocalFiles
from services.storage.core import Objects, Variants
from services.storage.core.garbage_collection import DEFAULT_AGE, GarbageCollection
from services.storage.core.registration import put, register
from services.storage.core.scan import Problem
from services.storage.core.thumbnails import Thumbnails
from services.storage.model import Stat, StoredObject, UploadSpec, VariantWish
from services.storage.settings import StorageSettings
from tests.storage.conftest import clock
from tests.storage.core.test_verification import kept, last, lay
from tests.storage.samples import picture, stream
from tests.support.awaited import Awaited

DAYS_LATER = 3 * 86_400_000
KEY = "generated/gen_a/0.png"
WAITING = f"pending/1700000000000-{'0a' * 16}.png"
FOREIGN = (
    "generated/generated_task1_0a1b2c3d.png",
    "uploads/1700000000000-old.png",
    "artworks/original/0b9f2f3e-1111-4222-8333-444455556666.png",
    "pending/invoice.pdf",
    "backups/database.tar",
    "variants/somebody.txt",
    "guests/list.csv",
    "index.html",
)


@pytest.fixture
def backend_settings(settings: StorageSettings) -> StorageSettings:
    """A folder, into which a test can lay what it likes."""
    return settings


@pytest.fixture
def garbage(backend: LocalFiles, store: Awaited) -> GarbageCollection:
    """Garbage collection, some days after everything here was stored."""
    return GarbageCollection(backend, store.database, store.functions, lambda: clock() + DAYS_LATER)


async def announced(store: Awaited, backend_settings: StorageSettings, key: str, body: bytes = b"left behind") -> Path:
    """Bytes that a process of ours put before it died."""
    await store.announce(key, Stat(len(body), hashlib.sha256(body).hexdigest()))
    return lay(backend_settings, key, body)


async def test_a_dry_run_names_everything_and_removes_nothing(
    garbage: GarbageCollection, backend_settings: StorageSettings, objects: Objects, store: Awaited
) -> None:
    row = await kept(objects)
    stray, waiting = await announced(store, backend_settings, "generated/stray.png"), lay(backend_settings, WAITING)
    lay(backend_settings, "generated/theirs.png")
    progress, found = await last(garbage.run(DEFAULT_AGE, delete=False))

    assert found == {
        "generated/stray.png": Problem.ROW_MISSING,
        "generated/theirs.png": Problem.NOT_OURS,
        WAITING: Problem.NOT_CONFIRMED,
    }
    assert progress.changed_count == 2
    assert stray.exists()
    assert waiting.exists()
    assert await objects.get(row.key)


async def test_a_collection_removes_what_it_names_and_a_second_one_finds_nothing(
    garbage: GarbageCollection, backend_settings: StorageSettings, objects: Objects, store: Awaited
) -> None:
    row = await kept(objects)
    paths = [await announced(store, backend_settings, "generated/stray.png"), lay(backend_settings, WAITING)]
    old = lay(backend_settings, "kie-downloads/old.png")
    progress, _ = await last(garbage.run(DEFAULT_AGE, delete=True))
    _, again = await last(garbage.run(DEFAULT_AGE, delete=True))

    assert progress.changed_count == 2
    assert not any(path.exists() for path in paths)
    assert not again
    assert old.exists()
    assert (backend_settings.objects_dir / row.key).exists()


async def test_variants_and_thumbnails_go_when_their_original_is_gone(
    garbage: GarbageCollection,
    objects: Objects,
    variants: Variants,
    thumbnails: Thumbnails,
    store: Awaited,
    backend: LocalFiles,
) -> None:
    first, second = [await objects.upload(UploadSpec("artworks/original"), stream([picture(seed=s)])) for s in "ab"]
    orphan, owned = [await variants.make(row.key, VariantWish(width=64)) for row in (first, second)]
    await thumbnails.make_due()
    thumbs = [row.key.replace("original", "thumb").replace(".png", ".webp") for row in (first, second)]
    await store.delete(first.key)
    await backend.delete(first.key)
    progress, found = await last(garbage.run(DEFAULT_AGE, delete=True))

    assert progress.changed_count == 2
    assert found == {orphan.key: Problem.ORIGINAL_GONE, thumbs[0]: Problem.ORIGINAL_GONE}
    assert await store.get(orphan.key) is None
    assert await backend.size(orphan.key) is None
    assert await store.get(owned.key)
    assert await store.get(thumbs[1])


async def test_what_nobody_can_prove_that_we_wrote_is_left_alone(
    garbage: GarbageCollection, backend_settings: StorageSettings, store: Awaited, objects: Objects
) -> None:
    """An older site's pictures, somebody's backups, and bytes under a key of ours that are not those we announced."""
    await kept(objects)
    await announced(store, backend_settings, "generated/ours.png")
    foreign = [lay(backend_settings, key, f"of others: {key}".encode()) for key in FOREIGN]
    await store.announce(FOREIGN[0], Stat(3, "0" * 64))
    before = {path: (path.read_bytes(), path.stat()) for path in foreign}
    progress, found = await last(garbage.run(3600, delete=True))

    assert {path: (path.read_bytes(), path.stat()) for path in foreign} == before
    assert found == dict.fromkeys(FOREIGN, Problem.NOT_OURS) | {"generated/ours.png": Problem.ROW_MISSING}
    assert progress.changed_count == 1


async def test_bytes_of_an_upload_that_died_before_its_row_are_ours_but_not_a_file_that_had_its_name(
    garbage: GarbageCollection, backend: LocalFiles, backend_settings: StorageSettings, store: Awaited
) -> None:
    body = picture()
    theirs = lay(backend_settings, "uploads/theirs.png", body)
    async with backend.spool() as spool:
        await spool.write(body)
        for name, named in (("made", False), ("chosen", True), ("theirs", True)):
            row = StoredObject(f"uploads/{name}.png", "image/png", spool.size, spool.sha256, "upload")
            assert await put(backend, store.database, store.functions, row, spool, named=named)
    _, found = await last(garbage.run(DEFAULT_AGE, delete=True))

    assert found == {
        "uploads/made.png": Problem.ROW_MISSING,
        "uploads/chosen.png": Problem.ROW_MISSING,
        "uploads/theirs.png": Problem.NOT_OURS,
    }
    assert theirs.read_bytes() == body


async def test_what_is_younger_than_the_age_is_left_alone(
    garbage: GarbageCollection, backend_settings: StorageSettings, store: Awaited
) -> None:
    path = await announced(store, backend_settings, "generated/stray.png")
    os.utime(path, ((clock() + DAYS_LATER) / 1000 - 7200,) * 2)
    _, found = await last(garbage.run(DEFAULT_AGE, delete=True))
    _, sooner = await last(garbage.run(3600, delete=True))

    assert not found
    assert sooner == {"generated/stray.png": Problem.ROW_MISSING}


async def test_less_than_an_hour_is_refused(garbage: GarbageCollection) -> None:
    with pytest.raises(InvalidArgument, match="an hour"):
        await last(garbage.run(60, delete=True))


class Meeting(LocalFiles):
    """A folder where somebody else may act just before, and just after, something is deleted."""

    def __init__(self, settings: StorageSettings) -> None:
        super().__init__(settings.objects_dir)
        self.before, self.after = asyncio.Event(), asyncio.Event()
        self.leave_before, self.leave_after = asyncio.Event(), asyncio.Event()

    async def delete(self, key: str) -> None:
        self.before.set()
        await self.leave_before.wait()
        await super().delete(key)
        self.after.set()
        await self.leave_after.wait()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_row_that_is_written_while_its_bytes_are_collected_keeps_them(
    moment: str, backend_settings: StorageSettings, store: Awaited
) -> None:
    """The copy of a result that died before its row was written is made again at just this moment (S13)."""
    meeting, body = Meeting(backend_settings), picture()
    moments = {"before": meeting.before, "after": meeting.after}
    await announced(store, backend_settings, KEY, body)
    garbage = GarbageCollection(meeting, store.database, store.functions, lambda: clock() + DAYS_LATER)
    sweep = asyncio.create_task(last(garbage.run(3600, delete=True)))
    async with meeting.spool() as spool:
        await spool.write(body)
        assert await meeting.put(KEY, spool)
        row = StoredObject(KEY, "image/png", spool.size, spool.sha256, "kie-download", "gen_a", 0)
        if moment == "after":
            meeting.leave_before.set()
        await moments[moment].wait()
        await register(meeting, store.database, store.functions, row, spool)
    meeting.leave_before.set()
    meeting.leave_after.set()
    await sweep

    assert await store.get(KEY)
    assert (backend_settings.objects_dir / KEY).read_bytes() == body
