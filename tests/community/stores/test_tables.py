"""The tables: the migrations make what the statements expect, and every page is read from an index in one query."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Select, event
from sqlalchemy.dialects import sqlite

from services.chassis.database import Database
from services.chassis.migrations import migrate
from services.community.core.feed import Ask
from services.community.house import House
from services.community.model import Listing, Shelf
from services.community.model.hotness import DAY_MS
from services.community.model.lists import After
from services.community.settings import CommunitySettings
from services.community.stores import statements
from services.community.stores.tables import metadata
from tests.community.people import ANN, BOB, published

on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # its plans do not depend on the data
INDEXES = {
    Shelf.NEWEST: "artwork_by_publish_ms",
    Shelf.HOT: "artwork_by_hot_score",
    Shelf.FRESH: "artwork_by_publish_ms",
    Shelf.OWNER: "artwork_by_owner",
    Shelf.FINISHED: "artwork_by_owner",
    Shelf.AUTHOR: "artwork_by_author",
    Shelf.FAVORITES: "artwork_favorite_by_time",
    Shelf.LIKES: "artwork_like_by_time",
}


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_the_migrations_make_the_tables(database: Database) -> None:
    async with database.read() as connection:
        found = await connection.run_sync(differences)

    assert [each for each in found if "alembic_version" not in str(each)] == []


async def plan(database: Database, statement: Select[*tuple[object, ...]]) -> str:
    text = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")).all()
    return "\n".join(str(row[-1]) for row in rows)


@on_sqlite
@pytest.mark.parametrize("shelf", Shelf)
@pytest.mark.parametrize("after", [None, (1_700_000_000_000, "art_1")])
async def test_a_page_is_one_range_of_an_index(database: Database, shelf: Shelf, after: After | None) -> None:
    steps = await plan(database, statements.page(Listing(shelf, ANN), BOB, 21, after, 0))

    assert INDEXES[shelf] in steps
    assert "SCAN artwork" not in steps.replace("SCAN artwork USING", "")


@on_sqlite
async def test_a_week_in_which_nobody_liked_anything_is_not_sought_through_all_artworks(
    house: House, database: Database
) -> None:
    await published(house)
    asked: list[tuple[str, Any]] = []
    event.listen(database._engine.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
    await house.feed.hottest(Ask(""), 7 * DAY_MS)
    selects = [each for each in asked if each[0].startswith("SELECT")]

    assert len(selects) == 2
    async with database.read() as connection:
        for statement, parameters in selects:
            rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)).all()
            steps = "\n".join(str(row[-1]) for row in rows)
            assert ("artwork_by_publish_ms" in steps, "artwork_by_hot_score" in steps) == (True, False)


@pytest.mark.parametrize("size", [1, 8])
async def test_a_page_costs_one_query_whatever_it_holds(house: House, database: Database, size: int) -> None:
    for number in range(size):
        await published(house, title=f"t{number}")
    counted: list[str] = []
    event.listen(database._engine.sync_engine, "before_cursor_execute", lambda *given: counted.append(given[2]))

    for read in (
        house.feed.newest(Ask(BOB)),
        house.feed.hottest(Ask(BOB)),
        house.feed.of_user(Ask(BOB), ANN),
        house.feed.of_shelf(Ask(BOB), Shelf.LIKES, BOB),
        house.feed.states(BOB, ["art_1", "art_2"]),
        house.feed.hotnesses(BOB, ["art_1", "art_2"]),  # of nobody's: no places to count
    ):
        counted.clear()
        await read
        assert len([statement for statement in counted if statement.startswith("SELECT")]) == 1


def test_entries_of_the_deletion_queue_learn_what_they_are(tmp_path: Path) -> None:
    """Before revision 3 a slash told keys from generations, and nothing told how far a deletion had come."""
    settings = CommunitySettings(database_url="", data_dir=tmp_path)
    migrate("community", settings, "0002")
    queue = [("generated/a.png", "", 1, 0), ("uploads/b.png", "", 1, 2), ("gen_1", "", 1, 0)]
    with closing(sqlite3.connect(tmp_path / "community.sqlite3")) as connection, connection:
        connection.executemany("INSERT INTO discarded_object VALUES (?, ?, ?, ?)", queue)

    migrate("community", settings)

    with closing(sqlite3.connect(tmp_path / "community.sqlite3")) as connection:
        found = connection.execute(
            "SELECT object_key, kind, state FROM discarded_object ORDER BY object_key"
        ).fetchall()
    assert found == [
        ("gen_1", "GENERATION", "WAITING"),
        ("generated/a.png", "OBJECT", "WAITING"),
        ("uploads/b.png", "OBJECT", "DELETING"),
    ]
