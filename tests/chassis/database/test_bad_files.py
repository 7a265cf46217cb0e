"""SQLite files that are locked, read-only, damaged or no database: a clear refusal, until they are well again."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, text

from services.chassis.database import Database, Transaction, connect_database, open_database
from services.chassis.errors import Unavailable
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.chassis.conftest import SERVICE

ROOT = Path(__file__).parents[3]
ROWS = 2000
NOBODY = 65534
LONG_SECONDS = 60.0

Act = Callable[[Database], Coroutine[None, None, object]]


def keep(transaction: Transaction) -> None:
    transaction.execute(text("INSERT INTO item VALUES (1, 'a cat')"))


def count(transaction: Transaction) -> int:
    return int(transaction.scalar(text("SELECT count(data) FROM item")) or 0)


async def group(database: Database) -> None:
    """Write three transactions together."""
    answers = await asyncio.gather(*(database.write(keep) for _ in range(3)), return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if errors:
        assert len(errors) == 3
        raise errors[0]


ACTS: dict[str, tuple[Act, int]] = {
    "read": (lambda database: database.read(count), 0),
    "write": (lambda database: database.write(keep), 1),
    "urgent write": (lambda database: database.write_urgently(keep), 1),
    "group of writes": (group, 3),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with rows on many pages."""
    path = tmp_path / f"{SERVICE}.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE item (id INTEGER, data TEXT)")
        connection.executemany("INSERT INTO item VALUES (?, ?)", [(number, "a dog " * 20) for number in range(ROWS)])
        connection.commit()
    return path


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    """Its connections are opened when they are first needed."""
    async with connect_database(
        CommonSettings(data_dir=file.parent, database_url="", _env_file=None), SERVICE
    ) as opened:
        yield opened


def foreign(whole: bytes) -> bytes:
    return b"This file is a letter. " * (len(whole) // 20)


def overwritten(whole: bytes) -> bytes:
    return whole[:4096] + b"\xff" * (len(whole) - 4096)


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def spoil(file: Path, damage: Callable[[bytes], bytes]) -> bytes:
    """Damage a file; what it was before."""
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    return whole


def restore(file: Path, whole: bytes) -> None:
    """Put the copy in the place of the damaged file and its log."""
    for left in file.parent.glob(f"{file.name}-*"):
        left.unlink()
    file.write_bytes(whole)


@pytest.mark.parametrize("damage", [foreign, overwritten, cut])
@pytest.mark.parametrize("act", list(ACTS))
async def test_a_damaged_file_is_refused_until_a_copy_is_restored(
    database: Database, file: Path, damage: Callable[[bytes], bytes], act: str
) -> None:
    run, adds = ACTS[act]
    whole = spoil(file, damage)
    for _ in range(2):
        with pytest.raises(Unavailable, match="is damaged") as refusal:
            await run(database)
        assert (refusal.value.reason, refusal.value.retry_after) == ("DATABASE_DAMAGED", 30)
    restore(file, whole)
    await run(database)

    assert await database.read(count) == ROWS + adds


def locked(file: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("act", ["write", "urgent write", "group of writes"])
async def test_a_locked_file_takes_reads_and_takes_writes_again_when_it_is_free(
    database: Database, file: Path, act: str
) -> None:
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=20"))
    run, adds = ACTS[act]
    lock = locked(file)
    next(lock)
    with pytest.raises(Unavailable, match="not reachable") as refusal:
        await run(database)
    seen = await database.read(count)
    next(lock, None)
    await run(database)

    assert refusal.value.retry_after
    assert (seen, await database.read(count)) == (ROWS, ROWS + adds)


PROGRAM = """
import asyncio, os, structlog, sys
from pathlib import Path
from sqlalchemy import text
from services.chassis.database import connect_database
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

def run(transaction, statement):
    transaction.execute(text(statement))

async def main(folder, user):
    settings = CommonSettings(data_dir=folder, database_url="", _env_file=None)
    async with connect_database(settings, "other") as database:  # so that all code is loaded before we lose our rights
        await database.write(run, "CREATE TABLE other (id INTEGER)")
    if not os.geteuid():
        os.seteuid(user)
    async with connect_database(settings, "bare") as database:
        while True:
            try:
                await database.write(run, "INSERT INTO item VALUES (1)")
            except Unavailable as error:
                print(error.message, error.retry_after, flush=True)
                sys.stdin.readline()
            else:
                print("kept", flush=True)
                return

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def test_a_read_only_file_is_refused_and_written_once_it_may_be() -> None:
    """By a process without rights: root may write everywhere."""
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "bare.sqlite3"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE item (id INTEGER)")
        file.chmod(0o444)
        command = [sys.executable, "-c", PROGRAM, name, str(NOBODY)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            refusals = [process.stdout.readline()]
            process.stdin.write("\n")
            process.stdin.flush()
            refusals.append(process.stdout.readline())
            folder.chmod(0o777)
            file.chmod(0o666)
            process.stdin.write("\n")
            process.stdin.flush()
            ended = process.stdout.readline()
        with closing(sqlite3.connect(file)) as connection:
            kept = connection.execute("SELECT id FROM item").fetchall()

    assert refusals == ["The database is not reachable at the moment. Try again shortly. 1\n"] * 2
    assert (ended, kept) == ("kept\n", [(1,)])


async def test_a_service_does_not_start_on_a_file_that_is_no_database(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(file, foreign)
    settings = CommonSettings(data_dir=file.parent, database_url="", _env_file=None)
    with pytest.raises(SystemExit) as caught:
        async with open_database(settings, SERVICE):
            pytest.fail("it was opened")

    assert caught.value.code == EXIT_CONFIGURATION
    assert f"{SERVICE}.sqlite3 in DATA_DIR is damaged or no SQLite database. Restore a copy" in capsys.readouterr().err


def test_a_migration_refuses_a_file_that_is_no_database(file: Path) -> None:
    spoil(file, foreign)
    environment = {**os.environ, "DATA_DIR": str(file.parent), "DATABASE_URL": ""}
    command = [sys.executable, "-m", "deploy.cli.main", "migrate"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=LONG_SECONDS)

    assert ended.returncode == EXIT_CONFIGURATION
    assert b"Restore a copy" in ended.stderr
    assert b"Traceback" not in ended.stderr
