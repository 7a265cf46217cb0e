"""Both engines keep what was committed, take turns at writing, and say in our words when they are away."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from services.chassis import context
from services.chassis.database import COLLISION, Database, Transaction, connect_database, db_now, open_database
from services.chassis.errors import Unavailable
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
CLOCK_TOLERANCE_MS = 5000
PATIENCE_SECONDS = 30.0  # for what happens at once, on a machine that is busy


def value_of(transaction: Transaction) -> int:
    return int(transaction.scalar(text("SELECT value FROM tally")) or 0)


async def tally(database: Database) -> int:
    return await database.read(value_of)


def add_one(transaction: Transaction) -> None:
    """Read, then write: lost if another comes between."""
    lock = "" if transaction.dialect == "sqlite" else " FOR UPDATE"
    value = transaction.scalar(text(f"SELECT value FROM tally{lock}"))  # noqa: S608 - two literals
    transaction.execute(text("UPDATE tally SET value = :value"), {"value": int(value or 0) + 1})


async def count_up(database: Database) -> None:
    await database.write(add_one)


async def make_tally(database: Database) -> None:
    await database.write(run, "CREATE TABLE tally (value INTEGER UNIQUE)", "INSERT INTO tally VALUES (0)")


def run(transaction: Transaction, *statements: str) -> None:
    for statement in statements:
        transaction.execute(text(statement))


def spoil(transaction: Transaction) -> None:
    """Write, then stumble."""
    transaction.execute(text("UPDATE tally SET value = 9"))
    raise ZeroDivisionError


async def test_sqlite_is_durable_and_lets_readers_pass(sqlite: CommonSettings) -> None:
    def pragmas(transaction: Transaction) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: transaction.scalar(text(f"PRAGMA {name}")) for name in names}

    async with open_database(sqlite, SERVICE) as database:
        found = [await database.read(pragmas), await database.write(pragmas)]

    assert found == [{"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}] * 2


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
        await database.write(run, "CREATE TABLE other (value INTEGER)")
        holder = sqlite3.connect(migrated.data_dir / f"{SERVICE}.sqlite3", isolation_level=None)
        if database.is_sqlite:
            holder.execute("BEGIN IMMEDIATE")
            holder.execute("UPDATE tally SET value = 9")

        assert await tally(database) == 0
        holder.close()


async def test_a_failed_transaction_leaves_nothing(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        with pytest.raises(ZeroDivisionError):
            await database.write(spoil)

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
    holder = sqlite3.connect(sqlite.data_dir / f"{SERVICE}.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    async with connect_database(sqlite, SERVICE) as database:
        event.listen(database.engine, "connect", impatient)
        with pytest.raises(Unavailable) as caught:
            await database.write(spoil)

    assert caught.value.retry_after
    holder.close()


def impatient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=20")


async def test_a_database_that_is_down_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/none"
    async with connect_database(
        CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None), SERVICE
    ) as database:
        with pytest.raises(Unavailable) as caught:
            await database.ping()

    assert "127.0.0.1" not in caught.value.message


async def test_an_error_of_the_driver_quotes_no_values(migrated: CommonSettings) -> None:
    """The traceback is logged, and prompts may not be."""
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        twice = text("INSERT INTO tally VALUES (:value), (:value)").bindparams(value=424_242)
        with pytest.raises(IntegrityError) as caught:
            await database.write(lambda transaction: transaction.execute(twice))

    assert "424242" not in str(caught.value).replace("(424242)", "")
    assert "parameters hidden" in str(caught.value)


async def test_the_database_has_a_clock(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        now = await database.read(clock)

    assert abs(now - time.time() * 1000) < CLOCK_TOLERANCE_MS


async def test_the_clock_moves_inside_a_transaction(migrated: CommonSettings) -> None:
    """PostgreSQL's now() stands still from the begin on; a lease measured by it would be short."""

    def moves(transaction: Transaction) -> bool:
        first = later = clock(transaction)
        while later == first:
            later = clock(transaction)
        return later > first

    async with open_database(migrated, SERVICE) as database:
        assert await database.read(moves)


def clock(transaction: Transaction) -> int:
    return int(transaction.scalar(select(db_now())) or 0)


async def test_an_unmigrated_database_is_refused(empty: CommonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        async with open_database(empty, SERVICE):
            pytest.fail("it was opened")

    assert caught.value.code == EXIT_CONFIGURATION
    assert "kawaii migrate" in capsys.readouterr().err


def test_a_service_ends_with_78_on_a_schema_it_does_not_know(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DATABASE_URL": ""}
    ended = subprocess.run(
        [sys.executable, "-m", f"services.{SERVICE}"], cwd=ROOT, env=environment, capture_output=True, check=False
    )

    assert ended.returncode == EXIT_CONFIGURATION
    assert b"kawaii migrate" in ended.stderr
    assert b"Traceback" not in ended.stderr


class Children:
    """A store whose parent row comes between its first try and the second, as when another transaction put it back."""

    def __init__(self, parents: int) -> None:
        self._parents = parents
        self.tries = 0

    def refer(self, transaction: Transaction) -> None:
        """Insert a child of parent 1."""
        self.tries += 1
        if self.tries > self._parents:
            transaction.execute(text("INSERT INTO parent VALUES (1)"))
        transaction.execute(text("INSERT INTO child VALUES (1)"))


@pytest.mark.parametrize(("without", "kept"), [(0, True), (1, True), (2, False)])
async def test_a_reference_to_a_row_that_has_just_gone_is_tried_once_more(
    migrated: CommonSettings, without: int, *, kept: bool
) -> None:
    """Both engines name it differently; a second failure says that others changed the same, not that we are broken."""
    async with open_database(migrated, SERVICE) as database:
        tables = "parent (id INTEGER PRIMARY KEY)", "child (id INTEGER REFERENCES parent (id))"
        await database.write(run, *(f"CREATE TABLE {table}" for table in tables))
        children = Children(without)
        if kept:
            await database.write(children.refer)
        else:
            with pytest.raises(Unavailable) as refusal:
                await database.write(children.refer)
            assert refusal.value.reason == COLLISION
        children_kept = await database.read(lambda each: each.scalar(text("SELECT count(*) FROM child")))

    assert children_kept == int(kept)

    assert children.tries == min(without + 1, 2)


async def test_notices_follow_the_commit_even_if_the_caller_has_left(migrated: CommonSettings) -> None:
    loop = asyncio.get_running_loop()
    begun, noticed, left = asyncio.Event(), asyncio.Event(), threading.Event()

    def announce(transaction: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        if transaction.dialect == "sqlite":  # on a thread; on PostgreSQL the loop runs on at each statement
            assert left.wait(PATIENCE_SECONDS)
        add_one(transaction)
        transaction.after_commit(noticed.set)

    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        caller = asyncio.create_task(database.write(announce))
        await begun.wait()
        caller.cancel()
        await asyncio.wait([caller])
        left.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await noticed.wait()
        counted = await tally(database)

    assert (caller.cancelled(), counted) == (True, 1)


async def test_a_transaction_that_failed_gives_no_notice(migrated: CommonSettings) -> None:
    noticed: list[int] = []

    def announce_and_spoil(transaction: Transaction) -> None:
        transaction.after_commit(lambda: noticed.append(1))
        spoil(transaction)

    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        with pytest.raises(ZeroDivisionError):
            await database.write(announce_and_spoil)
        await count_up(database)

    assert not noticed


async def test_the_callers_context_is_there(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        context.request_id.set("req_1")
        found = (
            await database.read(lambda _: context.request_id.get()),
            await database.write(lambda _: context.request_id.get()),
        )

    assert found == ("req_1", "req_1")


async def test_a_notice_has_the_callers_context(migrated: CommonSettings) -> None:
    """The line that it logs names the request."""
    found: list[str] = []

    def announce(transaction: Transaction) -> None:
        transaction.after_commit(lambda: found.append(context.request_id.get()))

    async with open_database(migrated, SERVICE) as database:
        context.request_id.set("req_1")
        await database.write(announce)

    assert found == ["req_1"]


async def test_closing_finishes_what_was_accepted_and_takes_no_more(migrated: CommonSettings) -> None:
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        callers = [asyncio.create_task(count_up(database)) for _ in range(5)]
        await asyncio.sleep(0)
    ended = await asyncio.gather(*callers, return_exceptions=True)
    with pytest.raises(Unavailable):
        await count_up(database)
    async with open_database(migrated, SERVICE) as database:
        assert await tally(database) == sum(outcome is None for outcome in ended)


async def test_a_function_that_reads_cannot_write(migrated: CommonSettings) -> None:
    """It would write without the writer's turn, and on SQLite be rolled back."""
    async with open_database(migrated, SERVICE) as database:
        await make_tally(database)
        with pytest.raises(Unavailable):
            await database.read(add_one)
        await count_up(database)

        assert await tally(database) == 1
