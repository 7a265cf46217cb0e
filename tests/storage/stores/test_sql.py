"""The SQL store keeps the contract of ports.ObjectStore on every engine."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.chassis.database import open_database
from services.chassis.errors import Unavailable
from services.chassis.migrations import migrate
from services.storage.model import Cursor, Filter, Stat, StoredObject, UploadLink
from services.storage.settings import StorageSettings
from services.storage.stores.sql import METADATA, SqlObjects
from tests.support.awaited import Awaited, awaited
from tests.support.postgres import Postgres
from tests.support.schema import TABLES_AND_COLUMNS, schema_differences


def an_object(key: str, generation_id: str | None = None, index: int | None = None) -> StoredObject:
    return StoredObject(
        key=key,
        content_type="image/png",
        size=3,
        sha256="0" * 64,
        source="upload",
        generation_id=generation_id,
        index=index,
        original_name="Ünïcode 猫.png",
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_settings(request: pytest.FixtureRequest, tmp_path: Path) -> StorageSettings:
    url = ""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres_server")
        url = server.create_database()
    settings = StorageSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    migrate("storage", settings)
    return settings


@pytest.fixture
async def store(engine_settings: StorageSettings) -> AsyncIterator[Any]:
    async with open_database(engine_settings, "storage") as database:
        yield awaited(database, SqlObjects())


async def test_the_migrations_make_the_tables(engine_settings: StorageSettings) -> None:
    """The tables here say nothing of NULL and indexes; the migrations do."""
    assert await schema_differences(engine_settings, "storage", METADATA, TABLES_AND_COLUMNS) == []


async def test_a_row_comes_back_as_it_was_added_with_the_time_of_the_database(store: Awaited) -> None:
    new = replace(an_object("generated/gen_a/0.png", "gen_a", 0), source_uri="https://x.example/a?b=c")
    added = await store.add(new)

    assert added == replace(new, create_ms=added.create_ms)
    assert added.create_ms > 1_700_000_000_000
    assert await store.get(new.key) == added
    assert await store.of_generation("gen_a", 0) == added
    assert await store.get("generated/gen_a/1.png") is None


async def test_the_same_key_returns_the_row_that_is_there(store: Awaited) -> None:
    first = await store.add(an_object("uploads/a.png"))

    assert await store.add(replace(an_object("uploads/a.png"), size=4)) == first


async def test_one_picture_of_a_generation_has_one_row(store: Awaited) -> None:
    first = await store.add(an_object("generated/gen_a/0.png", "gen_a", 0))

    assert await store.add(an_object("generated/gen_a/0.jpg", "gen_a", 0)) == first
    assert await store.get("generated/gen_a/0.jpg") is None


async def test_one_source_under_one_name_has_one_row_but_each_name_its_own(store: Awaited) -> None:
    copied = replace(an_object("generated/a.png"), source_uri="https://x.example/" + "a" * 8000)
    first = await store.add(copied)

    assert await store.add(replace(copied, key="generated/b.png")) == first
    assert await store.of_source(copied.source_uri, copied.original_name) == first
    other = await store.add(replace(copied, key="generated/c.png", original_name="c.png"))
    assert other.key == "generated/c.png"


async def test_one_source_of_one_task_has_one_row_whatever_its_name(store: Awaited) -> None:
    copied = replace(an_object("generated/a.png", "task1"), source_uri="https://x.example/a")
    first = await store.add(copied)

    assert await store.add(replace(copied, key="generated/b.png", original_name="b.png")) == first
    other = await store.add(replace(copied, key="generated/c.png", generation_id="task2"))
    assert other.key == "generated/c.png"


async def test_uploads_of_one_generation_do_not_keep_each_other_out(store: Awaited) -> None:
    for key in ("uploads/a.png", "uploads/b.png"):
        assert (await store.add(an_object(key, "gen_a"))).key == key


async def test_of_sixteen_that_add_one_picture_all_get_the_same_row(store: Awaited) -> None:
    added = await asyncio.gather(*(store.add(an_object(f"generated/gen_a/{n}.png", "gen_a", 0)) for n in range(16)))

    assert len(set(added)) == 1
    assert len(await store.list(Filter(generation_id="gen_a"), None, 50)) == 1


async def test_a_list_shows_newest_first_and_goes_on_below_its_cursor(store: Awaited) -> None:
    added = [await store.add(an_object(f"uploads/{n}.png")) for n in (3, 1, 2)]
    newest = tuple(sorted(added, key=lambda found: (found.create_ms, found.key), reverse=True))

    assert await store.list(Filter(), None, 50) == newest
    assert await store.list(Filter(), None, 2) == newest[:2]
    assert await store.list(Filter(), Cursor(newest[1].create_ms, newest[1].key), 2) == newest[2:]


async def test_a_list_is_exact_about_prefix_and_generation(store: Awaited) -> None:
    keys = (
        "uploads/a.png",
        "UPLOADS/b.png",
        "uploadsx/c.png",
        "uploads0/d.png",
        "generated/gen_a/0.png",
        "generated/gen_ab/0.png",
    )
    for key in keys:
        name = key.split("/")[1]
        await store.add(an_object(key, name, 0) if name.startswith("gen_") else an_object(key))

    assert [found.key for found in await store.list(Filter("uploads/"), None, 50)] == ["uploads/a.png"]
    assert [found.key for found in await store.list(Filter("", "gen_a"), None, 50)] == ["generated/gen_a/0.png"]
    assert await store.list(Filter("uploads/", "gen_a"), None, 50) == ()


async def test_a_deleted_row_is_gone_and_deleting_again_is_fine(store: Awaited) -> None:
    await store.add(an_object("uploads/a.png"))
    await store.delete("uploads/a.png")
    await store.delete("uploads/a.png")

    assert await store.get("uploads/a.png") is None


async def test_a_deleted_object_is_gone_at_once_and_its_key_is_free_again_when_its_bytes_are(
    store: Awaited,
) -> None:
    new = an_object("uploads/a.png")
    assert not await store.begin_deletion(new.key)
    await store.add(new)
    assert await store.begin_deletion(new.key)
    assert await store.get(new.key) is None
    with pytest.raises(Unavailable) as refusal:
        await store.add(new)
    assert refusal.value.reason == "OBJECT_BEING_DELETED"
    assert await store.begin_deletion(new.key)  # as a deletion that is repeated
    await store.end_deletion(new.key)

    assert not await store.begin_deletion(new.key)
    assert (await store.add(new)).key == new.key
    assert await store.due_tombstones(2**60, 9) == ()


async def test_tombstones_are_found_when_they_are_old_or_their_deletion_was_cut_short(store: Awaited) -> None:
    for key in ("uploads/a.png", "uploads/b.png"):
        await store.add(an_object(key))
        await store.begin_deletion(key)
    await store.end_deletion("uploads/a.png")

    assert await store.due_tombstones(0, 9) == ("uploads/b.png",)
    assert set(await store.due_tombstones(2**60, 9)) == {"uploads/a.png", "uploads/b.png"}
    with pytest.raises(Unavailable):
        await store.add(an_object("uploads/a.png"))
    await store.remove_tombstone("uploads/a.png")
    assert (await store.add(an_object("uploads/a.png"))).key == "uploads/a.png"


async def test_an_announcement_ends_with_the_row(store: Awaited) -> None:
    new = an_object("uploads/a.png")
    await store.announce(new.key, Stat(1, "0" * 64))
    await store.announce(new.key, Stat(2, "1" * 64))
    assert await store.announced(new.key) == Stat(2, "1" * 64)
    await store.add(new)
    assert await store.announced(new.key) is None
    await store.announce("uploads/b.png", Stat(1, "0" * 64))
    await store.withdraw("uploads/b.png")
    assert await store.announced("uploads/b.png") is None


async def test_links_are_kept_until_they_have_long_expired(store: Awaited) -> None:
    old, young = (UploadLink(f"uploads/{ms}.png", "image/png", 5, "a.png", ms) for ms in (1000, 2000))
    await store.add_link(old)
    await store.add_link(young)
    assert await store.expired_links(1500, 9) == (old.key,)
    assert await store.expired_links(9000, 1) == (old.key,)
    await store.delete_link(old.key)

    assert await store.get_link(old.key) is None
    assert await store.get_link(young.key) == young


async def test_what_was_seen_of_a_picture_is_kept_with_its_row(store: Awaited) -> None:
    new = replace(an_object("uploads/a.png"), width=30, height=20, thumb_hash="mhgKNZhw")

    assert await store.add(new) == replace(new, create_ms=(await store.add(new)).create_ms)


async def test_artworks_without_a_thumbnail_are_found_newest_first(store: Awaited) -> None:
    uuids = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(3)]
    first, second, third = [await store.add(an_object(f"artworks/original/{uuid}.png")) for uuid in uuids]
    await store.add(an_object(f"artworks/thumb/{uuids[1]}.webp"))
    await store.add(an_object("uploads/other.png"))

    assert await store.without_thumb(0, 9) == ()  # they are queued
    for row in (first, second, third):
        await store.end_thumb(row.key)

    assert set(await store.without_thumb(first.create_ms, 9)) == {first.key, third.key}
    assert len(await store.without_thumb(0, 1)) == 1
    assert await store.without_thumb(third.create_ms + 1, 9) == ()
    assert second.key not in await store.without_thumb(0, 9)


async def test_rows_are_walked_in_the_order_of_their_keys_bytes(store: Awaited) -> None:
    keys = ("uploads/B.png", "uploads/_.png", "uploads/a.png", "uploads/a/b.png", "variants/a.png")
    for key in reversed(keys):
        await store.add(an_object(key))
    first = await store.by_key("", "", 2)
    rest = await store.by_key("", first[-1].key, 9)

    assert tuple(row.key for row in (*first, *rest)) == tuple(sorted(keys))
    assert [row.key for row in await store.by_key("uploads/a", "uploads/a.png", 9)] == ["uploads/a/b.png"]
    assert await store.by_key("", keys[-1], 9) == ()
    assert await store.totals() == (5, 15)


async def test_an_empty_store_has_no_totals(store: Awaited) -> None:
    assert await store.totals() == (0, 0)
