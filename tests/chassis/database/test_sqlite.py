"""SQLite's threads: one writes in groups, a few read; a member that fails takes no other with it."""

import asyncio
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from services.chassis.database import Database, Transaction, connect_database, sqlite
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings
from tests.support.polling import eventually

ROOT = Path(__file__).parents[3]
WRITERS = 40
LONG_SECONDS = 30.0
SIZES = (1, 2, 3, 5, 8)
POSITIONS = [(size, position) for size in SIZES for position in range(size)]
BIG = 2_000_000  # bytes: more than the file may have, or than the page cache holds


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = CommonSettings(data_dir=tmp_path, database_url="", _env_file=None)
    async with connect_database(settings, "turns") as opened:
        await opened.write(run, "CREATE TABLE item (id INTEGER, data BLOB)")
        yield opened


def run(transaction: Transaction, statement: str) -> None:
    transaction.execute(text(statement))


def keep(transaction: Transaction, number: int) -> int:
    """Insert a row."""
    transaction.execute(text("INSERT INTO item VALUES (:id, NULL)"), {"id": number})
    return number


def ids(transaction: Transaction) -> list[int]:
    return [row.id for row in transaction.execute(text("SELECT id FROM item ORDER BY rowid"))]


def groups() -> float:
    """How many groups have been committed."""
    return REGISTRY.get_sample_value("kawaii_database_group_size_count") or 0.0


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """The writer is busy while inside, so that what is asked meanwhile becomes one group."""
    begun, released = threading.Event(), threading.Event()

    def hold(_transaction: Transaction) -> None:
        begun.set()
        released.wait(LONG_SECONDS)

    holder = asyncio.create_task(database.write(hold))
    await eventually(begun.is_set)
    yield
    await asyncio.sleep(0)  # the tasks made inside have asked
    released.set()
    await holder


async def test_writers_are_served_in_the_order_they_came_and_committed_together(database: Database) -> None:
    before = groups()
    async with held(database):
        writers = [asyncio.create_task(database.write(keep, number)) for number in range(WRITERS)]
    answers = await asyncio.gather(*writers)

    assert answers == await database.read(ids) == list(range(WRITERS))
    assert groups() - before == 2  # the holder, and the others


async def test_urgent_writers_go_first(database: Database) -> None:
    async with held(database):
        writers = [asyncio.create_task(database.write(keep, number)) for number in range(3)]
        await asyncio.sleep(0)
        urgent = asyncio.create_task(database.write_urgently(keep, 99))
    await asyncio.gather(*writers, urgent)

    assert await database.read(ids) == [99, 0, 1, 2]


class Crowd:
    """Members of one group: the first changes so many rows, once it is let go, that the others are left over."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def keep_many(self, transaction: Transaction) -> None:
        """Fill the group."""
        rows = "WITH RECURSIVE rows (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM rows WHERE n < 600)"
        self.begun.set()
        self.released.wait(LONG_SECONDS)
        transaction.execute(text(f"{rows} INSERT INTO item SELECT 0, NULL FROM rows"))  # noqa: S608 - literals

    async def enter(self, database: Database, *numbers: int) -> "list[asyncio.Task[Any]]":
        """Begin the group; tasks of all members."""
        async with held(database):
            members = [asyncio.create_task(database.write(self.keep_many))]
            members += [asyncio.create_task(database.write(keep, number)) for number in numbers]
        await eventually(self.begun.is_set)
        return members


async def test_an_urgent_writer_goes_before_those_that_a_full_group_left_over(database: Database) -> None:
    crowd = Crowd()
    members = await crowd.enter(database, 1)
    urgent = asyncio.create_task(database.write_urgently(keep, 99))
    await asyncio.sleep(0)
    crowd.released.set()
    await asyncio.gather(*members, urgent)

    assert (await database.read(ids))[-2:] == [99, 1]


async def test_a_caller_that_leaves_a_group_before_its_function_began_has_no_effect(database: Database) -> None:
    """Whether the group has room for it, or it is left over."""
    for number, release_first in ((1, False), (2, True)):
        crowd = Crowd()
        members = await crowd.enter(database, number, 100 + number)
        if release_first:
            crowd.released.set()
            await members[0]
        members[1].cancel()
        await asyncio.wait([members[1]])
        crowd.released.set()
        await asyncio.gather(members[0], members[2])

    assert 1 not in await database.read(ids)
    assert {101, 102} <= set(await database.read(ids))


async def test_one_whose_time_runs_out_in_a_group_that_has_no_room_is_told_to_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd()
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.05)
    members = await crowd.enter(database, 1)
    expired = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, expired.set)  # the loop runs its timers in their order
    await expired.wait()
    crowd.released.set()
    await members[0]
    with pytest.raises(Unavailable):
        await members[1]

    assert 1 not in await database.read(ids)


async def test_a_group_ends_when_it_has_changed_many_rows(database: Database) -> None:
    rows = "WITH RECURSIVE rows (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM rows WHERE n < 300)"
    many = f"{rows} INSERT INTO item SELECT n, NULL FROM rows"  # noqa: S608 - literals
    before = groups()
    async with held(database):
        writers = [asyncio.create_task(database.write(run, many)) for _ in range(5)]
    await asyncio.gather(*writers)

    assert len(await database.read(ids)) == 1500
    assert groups() - before == 4  # the holder, two, two, one


async def test_readers_are_served_while_the_writer_is_busy(database: Database) -> None:
    async with held(database):
        found = await database.read(ids)

    assert found == []


async def test_a_slow_reader_delays_no_writer(database: Database) -> None:
    begun, released = threading.Event(), threading.Event()

    def read_slowly(transaction: Transaction) -> list[int]:
        first = ids(transaction)
        begun.set()
        released.wait(LONG_SECONDS)
        return first + ids(transaction)

    reader = asyncio.create_task(database.read(read_slowly))
    await eventually(begun.is_set)
    await database.write(keep, 1)
    released.set()

    assert await reader == []  # one snapshot
    assert await database.read(ids) == [1]


async def test_a_writer_that_waits_too_long_is_told_to_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.05)
    async with held(database):
        with pytest.raises(Unavailable) as refusal:
            await database.write(keep, 1)

    assert refusal.value.retry_after
    assert await database.read(ids) == []


async def test_a_full_queue_refuses_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_QUEUED", 3)
    async with held(database):
        writers = [asyncio.create_task(database.write(keep, number)) for number in range(5)]
    answers = await asyncio.gather(*writers, return_exceptions=True)

    assert [type(answer) for answer in answers] == [int, int, int, Unavailable, Unavailable]
    assert await database.read(ids) == [0, 1, 2]


class Broken(Exception):  # noqa: N818 - stands for any error of ours
    """A member's own error."""


def stumble(transaction: Transaction) -> None:
    """Write, then raise."""
    keep(transaction, 1000)
    raise Broken


def overfill(transaction: Transaction) -> None:
    """Write more than the file may hold: SQLITE_FULL, from the engine itself."""
    keep(transaction, 1000)
    transaction.execute(text("PRAGMA max_page_count = 1"))  # SQLite takes the present size
    try:
        transaction.execute(text("INSERT INTO item VALUES (1000, zeroblob(:size))"), {"size": BIG})
    finally:
        transaction.execute(text("PRAGMA max_page_count = 1000000"))


def overflow(transaction: Transaction) -> None:
    """Spill pages into a log that may not grow: SQLITE_IOERR_WRITE, from the kernel's EFBIG."""
    keep(transaction, 1000)
    transaction.execute(text("PRAGMA cache_size = 10"))
    with no_larger_files():
        transaction.execute(text("INSERT INTO item VALUES (1000, randomblob(:size))"), {"size": BIG})


@contextmanager
def no_larger_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "position"), POSITIONS)
@pytest.mark.parametrize(("fault", "error"), [(stumble, Broken), (overfill, Unavailable), (overflow, Unavailable)])
async def test_a_member_that_fails_takes_no_other_of_its_group_with_it(
    database: Database, fault: object, error: type[Exception], size: int, position: int
) -> None:
    assert callable(fault)
    async with held(database):
        members = [
            asyncio.create_task(database.write(fault) if number == position else database.write(keep, number))
            for number in range(size)
        ]
    answers = await asyncio.gather(*members, return_exceptions=True)

    others = [number for number in range(size) if number != position]
    assert isinstance(answers[position], error)
    assert [answers[number] for number in others] == others
    assert sorted(await database.read(ids)) == others
    assert await database.write(keep, 500) == 500


async def test_a_commit_that_fails_is_unavailable_for_the_whole_group_and_the_next_one_works(
    database: Database,
) -> None:
    """The log may not grow at the commit, where a small transaction's pages are written."""

    def forbid(transaction: Transaction) -> None:
        transaction.execute(text("INSERT INTO item VALUES (1, randomblob(:size))"), {"size": 300_000})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        async with held(database):
            members = [asyncio.create_task(database.write(forbid)), asyncio.create_task(database.write(keep, 2))]
        answers = await asyncio.gather(*members, return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert await database.read(ids) == []
    assert await database.write(keep, 3) == 3


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from sqlalchemy import text
from services.chassis.database import connect_database
from services.chassis.settings import CommonSettings

async def main():
    settings = CommonSettings(data_dir=Path(sys.argv[1]), database_url="", _env_file=None)
    async with connect_database(settings, "order") as database:
        await database.write(lambda t: t.execute(text("CREATE TABLE item (id INTEGER)")) and None)
        for number in range(5):
            await database.write(lambda t: t.execute(text("INSERT INTO item VALUES (1)")) and None)
            os.write(1, b"answered")

asyncio.run(main())
"""


def test_what_was_answered_had_been_synced(tmp_path: Path) -> None:
    """By system calls: before each answer the log is written, and synced after the last write to it."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    traced = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=write,pwrite64,fsync,fdatasync", sys.executable]
    subprocess.run([*traced, "-c", PROGRAM, str(tmp_path)], check=True, cwd=ROOT, capture_output=True)

    since_answer: list[str] = []
    answers = 0
    for line in log.read_text().splitlines():
        if "order.sqlite3-wal" in line:
            since_answer.append("sync" if "sync(" in line else "write")
        elif '"answered"' in line:
            answers += 1
            assert "write" in since_answer
            assert since_answer[-1] == "sync"
            since_answer.clear()
    assert answers == 5
