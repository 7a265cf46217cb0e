"""Operations for tables in use do on both engines what they say, and can be repeated after an interruption."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from services.chassis.database import Transaction, connect_database
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.chassis.migrations.revisions import write

OPERATIONS = "from services.chassis.migrations.operations import backfill, create_index, drop_index, set_not_null\n"
MARK = "CREATE TABLE mark (id INTEGER PRIMARY KEY, colour TEXT)"
ROW = "INSERT INTO mark (id, colour) VALUES (:id, 'red')"
ROWS = 25


@pytest.fixture
def marked(migrated: CommonSettings) -> CommonSettings:
    """A database with a table that the test's revisions change."""
    change(migrated, MARK, *(ROW.replace(":id", str(number)) for number in range(ROWS)))
    return migrated


def change(settings: CommonSettings, *statements: str) -> None:
    async def run() -> None:
        async with connect_database(settings, SERVICE) as database:
            for statement in statements:
                await database.write(Transaction.execute, text(statement))

    asyncio.run(run())


def indexes(settings: CommonSettings) -> set[tuple[str, bool]]:
    """The table's indexes, and whether each is unique."""

    def look(transaction: Transaction) -> set[tuple[str, bool]]:
        found = inspect(transaction.connection).get_indexes("mark")
        return {(str(index["name"]), bool(index["unique"])) for index in found}

    async def run() -> set[tuple[str, bool]]:
        async with connect_database(settings, SERVICE) as database:
            return await database.read(look)

    return asyncio.run(run())


def colours(settings: CommonSettings) -> dict[str, int]:
    async def run() -> dict[str, int]:
        async with connect_database(settings, SERVICE) as database:
            statement = text("SELECT colour, count(*) FROM mark GROUP BY colour")
            rows = await database.read(lambda transaction: transaction.execute(statement).all())
            return {str(colour): int(count) for colour, count in rows}

    return asyncio.run(run())


def run(settings: CommonSettings, tmp_path: Path, *bodies: str) -> None:
    migrate(SERVICE, settings, additional=write(tmp_path / "more", SERVICE, *(OPERATIONS + body for body in bodies)))


def test_indexes_come_and_go(marked: CommonSettings, tmp_path: Path) -> None:
    build = 'create_index("by_colour", "mark", ["colour"])', 'create_index("by_id", "mark", ["id"], unique=True)'
    run(marked, tmp_path, *build)
    built = indexes(marked)
    run(marked, tmp_path, *build, 'drop_index("by_colour", "mark")', 'drop_index("never_there", "mark")')

    assert built == {("by_colour", False), ("by_id", True)}
    assert indexes(marked) == {("by_id", True)}


def test_an_index_of_some_rows_binds_only_those(marked: CommonSettings, tmp_path: Path) -> None:
    run(marked, tmp_path, "create_index('one_blue', 'mark', ['colour'], unique=True, where=\"colour = 'blue'\")")
    change(marked, "UPDATE mark SET colour = 'blue' WHERE id = 0")

    with pytest.raises(IntegrityError):
        change(marked, "UPDATE mark SET colour = 'blue' WHERE id = 1")


def test_rows_are_changed_in_batches_until_none_is_left(marked: CommonSettings, tmp_path: Path) -> None:
    some = "SELECT id FROM mark WHERE colour = 'red' LIMIT 10"
    run(marked, tmp_path, f"backfill(\"UPDATE mark SET colour = 'blue' WHERE id IN ({some})\")")  # noqa: S608 - a constant

    assert colours(marked) == {"blue": ROWS}


def test_a_column_that_holds_no_null_takes_none_any_more(marked: CommonSettings, tmp_path: Path) -> None:
    run(marked, tmp_path, 'set_not_null("mark", "colour")')

    assert colours(marked) == {"red": ROWS}
    with pytest.raises(IntegrityError):
        change(marked, "UPDATE mark SET colour = NULL")


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
@pytest.mark.parametrize("left", ["NOT VALID", ""], ids=["added", "checked"])
def test_a_column_is_closed_to_null_whatever_an_interrupted_run_has_left(
    marked: CommonSettings, tmp_path: Path, left: str
) -> None:
    change(marked, f"ALTER TABLE mark ADD CONSTRAINT mark_colour_is_not_null CHECK (colour IS NOT NULL) {left}")
    run(marked, tmp_path, 'set_not_null("mark", "colour")')

    with pytest.raises(IntegrityError):
        change(marked, "UPDATE mark SET colour = NULL")
