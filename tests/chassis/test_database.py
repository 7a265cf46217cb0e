"""Both engines keep what was committed, take turns at writing, and say in our words when they are away."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from services.chassis.database import COLLISION, Database, db_now, make_engine, open_database, retried
from services.chassis.errors import Unavailable
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
CLOCK_TOLERANCE_MS = 5000


async def tally(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(text("SELECT value FROM tally")) or 0)


async def count_up(database: Database) -> None:
    """Read, think, write: lost if another comes between."""
    lock = "" if database.is_sqlite else " FOR UPDATE"
    async with database.write() as connection:
        value = await connection.scalar(text(f"SELECT value FROM tally{lock}"))  # noqa: S608 - two literals
        await asyncio.sleep(0)
        await connection.execute(text("UPDATE tally SET value = :value"), {"value": int(value or 0) + 1})


async def make_tally(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE tally (value INTEGER UNIQUE)"))
        await connection.execute(text("INSERT INTO tally VALUES (0)"))


async def spoil(database: Database) -> None:
    """Write, then stumble."""
    async with database.write() as connection:
        await connection.execute(text("UPDATE tally SET value = 9"))
        raise ZeroDivisionError


async def test_sqlite_is_durable_and_lets_readers_pass(sqlite: CommonSettings) -> None:
    async with open_database(sqlite, SERVICE) as database, database.read() as connection:
        pragmas = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


async def test_concurrent_changes_all_count(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        await asyncio.gather(*(count_up(database) for _ in range(25)))

        assert await tally(database) == 25


async def test_two_processes_take_turns_at_writing(sqlite: CommonSettings) -> None:
    """The write lock is taken at the begin, so a transaction that reads first does not fail when it writes."""
    async with open_database(sqlite, SERVICE) as one, open_database(sqlite, SERVICE) as other:
        await make_tally(one)
        await asyncio.gather(*(count_up(database) for database in [one, other] * 10))

        assert await tally(one) == 20


async def test_readers_do_not_wait_for_the_writer(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        async with database.write() as connection:
            await connection.execute(text("UPDATE tally SET value = 9"))

            assert await tally(database) == 0


async def test_a_failed_transaction_leaves_nothing(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        with pytest.raises(ZeroDivisionError):
            await spoil(database)

        assert await tally(database) == 0


async def test_a_canceled_transaction_gives_its_lock_back(migrated: CommonSettings) -> None:
    """A caller that hangs up cancels the transaction at any of its steps."""
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        for steps in range(60):
            task = asyncio.create_task(count_up(database))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        before = await tally(database)
        await count_up(database)

        assert await tally(database) == before + 1


async def test_a_locked_database_is_unavailable(sqlite: CommonSettings) -> None:
    engine = make_engine(sqlite, SERVICE)
    event.listen(engine.sync_engine, "connect", impatient)
    holder = sqlite3.connect(sqlite.data_dir / f"{SERVICE}.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable) as caught:
        async with Database(engine).write():
            pytest.fail("the lock was given twice")

    assert caught.value.retry_after
    holder.close()
    await engine.dispose()


def impatient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=20")


async def test_a_database_that_is_down_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/none"
    engine = make_engine(CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None), SERVICE)

    with pytest.raises(Unavailable) as caught:
        await Database(engine).ping()

    assert "127.0.0.1" not in caught.value.message
    await engine.dispose()


async def test_an_error_of_the_driver_quotes_no_values(migrated: CommonSettings) -> None:
    """The traceback is logged, and prompts may not be."""
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        with pytest.raises(IntegrityError) as caught:
            async with database.write() as connection:
                await connection.execute(text("INSERT INTO tally VALUES (:value), (:value)"), {"value": 424_242})

    assert "424242" not in str(caught.value).replace("(424242)", "")
    assert "parameters hidden" in str(caught.value)


async def test_the_database_has_a_clock(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database, database.read() as connection:
        clock_ms = await connection.scalar(select(db_now()))

    assert abs(int(clock_ms or 0) - time.time() * 1000) < CLOCK_TOLERANCE_MS


async def test_the_clock_moves_inside_a_transaction(migrated: CommonSettings) -> None:
    """PostgreSQL's now() stands still from the begin on; a lease measured by it would be short."""
    async with open_database(migrated, SERVICE) as database, database.read() as connection:
        first = int(await connection.scalar(select(db_now())) or 0)
        later = first
        while later == first:
            later = int(await connection.scalar(select(db_now())) or 0)

    assert later > first


async def test_an_unmigrated_database_is_refused(empty: CommonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        async with open_database(empty, SERVICE):
            pytest.fail("it was opened")

    assert caught.value.code == EXIT_CONFIGURATION
    assert "kawaii migrate" in capsys.readouterr().err


async def test_a_schema_of_another_time_is_refused(migrated: CommonSettings) -> None:
    engine = make_engine(migrated, SERVICE)
    async with Database(engine).write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    await engine.dispose()

    with pytest.raises(SystemExit) as caught:
        async with open_database(migrated, SERVICE):
            pytest.fail("it was opened")

    assert caught.value.code == EXIT_CONFIGURATION


def test_a_service_ends_with_78_on_a_schema_it_does_not_know(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": ""}
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{SERVICE}"], cwd=ROOT, env=environment, capture_output=True, check=False
    )

    assert ended.returncode == EXIT_CONFIGURATION
    assert b"kawaii migrate" in ended.stderr
    assert b"Traceback" not in ended.stderr


@retried
class Children:
    """A store whose parent row comes between its first try and the second, as when another transaction put it back."""

    def __init__(self, database: Database, parents: int) -> None:
        self._database, self._parents = database, parents
        self.tries = 0

    async def refer(self) -> None:
        """Insert a child of parent 1."""
        self.tries += 1
        async with self._database.write() as connection:
            if self.tries > self._parents:
                await connection.execute(text("INSERT INTO parent VALUES (1)"))
            await connection.execute(text("INSERT INTO child VALUES (1)"))


@pytest.mark.parametrize(("without", "kept"), [(0, True), (1, True), (2, False)])
async def test_a_reference_to_a_row_that_has_just_gone_is_tried_once_more(
    migrated: CommonSettings, without: int, *, kept: bool
) -> None:
    """Both engines name it differently; a second failure says that others changed the same, not that we are broken."""
    async with open_database(migrated, SERVICE) as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
            await connection.execute(text("CREATE TABLE child (id INTEGER REFERENCES parent (id))"))
        children = Children(database, without)
        if kept:
            await children.refer()
        else:
            with pytest.raises(Unavailable) as refusal:
                await children.refer()
            assert refusal.value.reason == COLLISION
        async with database.read() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM child")) == int(kept)

    assert children.tries == min(without + 1, 2)
