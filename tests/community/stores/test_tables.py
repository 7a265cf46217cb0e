"""The tables: the migrations make what the statements expect, and every page is read from an index in one query."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Select, event
from sqlalchemy.dialects import sqlite

from services.chassis.database import Database
from services.chassis.migrations import migrate
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.model import Listing, Shelf
from services.community.model.artworks import After
from services.community.model.hotness import DAY_MS, HOUR_MS, NEVER_MS
from services.community.settings import CommunitySettings
from services.community.stores.lists import select_page
from services.community.stores.tables import metadata
from tests.community.steps import ANN, BOB, published
from tests.support.schema import schema_differences

on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # its plans do not depend on the data
INDEXES = {
    Shelf.NEWEST: "artwork_by_publish_ms",
    Shelf.HOT: "artwork_by_hot_score",
    Shelf.OWNER: "artwork_by_owner",
    Shelf.FINISHED: "artwork_by_owner",
    Shelf.AUTHOR: "artwork_by_author",
    Shelf.FAVORITES: "artwork_favorite_by_time",
    Shelf.LIKES: "artwork_like_by_time",
}


async def test_the_migrations_make_the_tables(settings: CommunitySettings) -> None:
    assert await schema_differences(settings, "community", metadata) == []


async def plan(database: Database, statement: Select[*tuple[object, ...]]) -> str:
    text = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    rows = await database.read(
        lambda transaction: transaction.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    )
    return "\n".join(str(row[-1]) for row in rows)


@on_sqlite
@pytest.mark.parametrize("shelf", Shelf)
@pytest.mark.parametrize("after", [None, (1_700_000_000_000, "art_1")])
async def test_a_page_is_one_range_of_an_index(database: Database, shelf: Shelf, after: After | None) -> None:
    steps = await plan(database, select_page(Listing(shelf, ANN), BOB, 21, after, 0))

    assert INDEXES[shelf] in steps
    assert "SCAN artwork" not in steps.replace("SCAN artwork USING", "")


@pytest.mark.parametrize("size", [1, 8])
async def test_a_page_costs_one_query_whatever_it_holds(
    community: CommunityService, database: Database, size: int
) -> None:
    for number in range(size):
        await published(community, title=f"t{number}")
    counted: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: counted.append(given[2]))

    for read in (
        community.feed.newest(PageRequest(BOB)),
        community.feed.hottest(PageRequest(BOB)),
        community.feed.of_user(PageRequest(BOB), ANN),
        community.feed.of_shelf(PageRequest(BOB), Shelf.LIKES, BOB),
        community.feed.states(BOB, ["art_1", "art_2"]),
        community.feed.hotnesses(BOB, ["art_1", "art_2"]),  # of nobody's: no places to count
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


def test_artworks_of_before_get_the_age_class_that_they_have(tmp_path: Path) -> None:
    settings = CommunitySettings(database_url="", data_dir=tmp_path)
    migrate("community", settings, "0007")
    now = time.time_ns() // 1_000_000
    ages = {
        "new": 60_000,
        "hours": 5 * HOUR_MS,
        "day": 23 * HOUR_MS,
        "days": 6 * DAY_MS,
        "weeks": 29 * DAY_MS,
        "old": 31 * DAY_MS,
    }
    with closing(sqlite3.connect(tmp_path / "community.sqlite3")) as connection, connection:
        names = [column[1] for column in connection.execute("PRAGMA table_info(artwork)")]
        for name, age in ages.items():
            own = dict.fromkeys(("id", "slug", "request_key"), name)
            row = dict.fromkeys(names, 0) | own | {"publish_ms": now - age, "hot_due_ms": NEVER_MS}
            marks = ", ".join("?" * len(row))
            statement = f"INSERT INTO artwork ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - our own names
            connection.execute(statement, tuple(row.values()))

    migrate("community", settings)

    with closing(sqlite3.connect(tmp_path / "community.sqlite3")) as connection:
        found = connection.execute("SELECT id, age_class, hot_due_ms FROM artwork ORDER BY age_class").fetchall()
    assert [(name, place) for name, place, _ in found] == [(name, place) for place, name in enumerate(ages)]
    assert [due for _, _, due in found] == [0, 0, 0, 0, 0, NEVER_MS]  # the score decay sees to the next class
