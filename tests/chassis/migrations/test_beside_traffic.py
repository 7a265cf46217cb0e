"""On PostgreSQL a migration holds up nobody: it gives way, takes turns with others, and goes on after it was killed."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, Transaction, open_database
from services.chassis.migrations import MigrationError, Window, head_of, migrate, window_of
from services.chassis.migrations.upgrade import TURN
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.chassis.migrations.revisions import later, write
from tests.support.polling import DEADLINE_SECONDS, eventually
from tests.support.postgres import Postgres

ROOT = Path(__file__).parents[3]
HEAD, NEXT, AFTER = head_of(SERVICE), later(SERVICE), later(SERVICE, 2)
ANSWER_SECONDS = 5.0  # what a caller of a service waits at least
READS = 20
WRITTEN = "LOCK TABLE outbox IN ROW EXCLUSIVE MODE"  # as a transaction has it that has written a row
ADD = 'op.add_column("outbox", sa.Column("note", sa.Text))'
INDEX = """
from services.chassis.migrations.operations import create_index
create_index("outbox_by_kind", "outbox", ["create_ms"])
"""
MIGRATE = """
import sys
from pathlib import Path
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
migrate(sys.argv[1], CommonSettings(), additional=Path(sys.argv[2]), tell=lambda line: print(line, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def settings(postgres_server: Postgres, tmp_path: Path) -> CommonSettings:
    settings = CommonSettings(data_dir=tmp_path, database_url=postgres_server.create_database(), _env_file=None)
    migrate(SERVICE, settings)
    return settings


@pytest.fixture
async def database(settings: CommonSettings) -> AsyncIterator[Database]:
    """The database as a service has it open."""
    async with open_database(settings, SERVICE) as database:
        yield database


@dataclass
class Migration:
    """A `migrate` in a process of its own, and the lines that it has said."""

    process: Process
    lines: list[str] = field(default_factory=list)

    async def said(self, words: str) -> None:
        """Wait until it says these words."""
        assert self.process.stdout
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not any(words in line for line in self.lines):
                line = await self.process.stdout.readline()
                assert line, f"it ended without saying {words}"
                self.lines.append(line.decode())

    async def end(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def migrating(settings: CommonSettings, folder: Path) -> AsyncIterator[Migration]:
    """A migration with the revisions of a folder."""
    environment = os.environ | {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url}
    command = (sys.executable, "-c", MIGRATE, SERVICE, str(folder))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=PIPE)
    try:
        yield Migration(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def held(settings: CommonSettings, *statements: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A transaction that somebody has left open after these statements, and what ends it."""
    import asyncpg  # noqa: PLC0415 - only here

    url = settings.database_url
    connection = await asyncpg.connect(url, server_settings={"search_path": SERVICE})
    await connection.execute("BEGIN")
    for statement in statements:
        await connection.execute(statement)
    try:
        yield lambda: connection.execute("COMMIT")
    finally:
        await connection.close()


async def question(database: Database, statement: str) -> object:
    return await database.read(Transaction.scalar, text(statement))


async def columns(database: Database) -> int:
    return (
        await database.read(
            Transaction.scalar,
            text(
                "SELECT count(*) FROM information_schema.columns WHERE table_name = 'outbox' AND column_name = 'note'"
            ),
        )
        or 0
    )


async def index_is_valid(database: Database) -> object:
    return await question(database, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('outbox_by_kind')")


async def test_traffic_is_answered_while_a_migration_waits_for_a_lock(
    settings: CommonSettings, database: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD)
    async with held(settings, "SELECT count(*) FROM outbox") as release, migrating(settings, folder) as migration:
        await migration.said("waits for locks that others hold")
        for _ in range(READS):
            async with asyncio.timeout(ANSWER_SECONDS):
                await question(database, "SELECT count(*) FROM outbox")
        assert await columns(database) == 0
        await release()

        assert await migration.end() == 0
    assert await database.read(window_of) == Window(NEXT, HEAD)
    assert await columns(database) == 1


async def test_a_lock_that_is_never_given_back_ends_in_a_sentence(
    settings: CommonSettings, database: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD)
    async with held(settings, "SELECT count(*) FROM outbox"):
        with pytest.raises(MigrationError, match="Others have held locks that the migration of generation needs"):
            await asyncio.to_thread(migrate, SERVICE, settings, additional=folder, wait_seconds=0)

    assert await database.read(window_of) == Window(HEAD, HEAD)


async def test_another_migration_is_waited_for_and_said(settings: CommonSettings, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD)
    async with held(settings, f"SELECT pg_advisory_xact_lock({TURN})") as release:
        with pytest.raises(MigrationError, match="Another kawaii migrate has been at work"):
            await asyncio.to_thread(migrate, SERVICE, settings, additional=folder, wait_seconds=0)
        async with migrating(settings, folder) as migration:
            await migration.said("waits for another kawaii migrate")
            await release()

            assert await migration.end() == 0


async def test_an_index_is_built_while_others_write_and_others_wait_for_their_turn(
    settings: CommonSettings, database: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", SERVICE, INDEX)
    async with (
        held(settings, WRITTEN) as release,  # a concurrent index waits for those who have written
        migrating(settings, folder) as first,
        migrating(settings, folder) as second,
    ):
        await eventually(lambda: index_exists(database))
        async with asyncio.timeout(ANSWER_SECONDS):
            await database.write(Transaction.execute, text("UPDATE outbox SET create_ms = create_ms"))
        assert await index_is_valid(database) is False
        await release()

        assert [await first.end(), await second.end()] == [0, 0]
    assert await index_is_valid(database)
    assert await database.read(window_of) == Window(NEXT, HEAD)


async def index_exists(database: Database) -> bool:
    return await index_is_valid(database) is not None


async def test_what_a_killed_build_of_an_index_left_is_built_anew(
    settings: CommonSettings, database: Database, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", SERVICE, INDEX)
    async with held(settings, WRITTEN), migrating(settings, folder) as migration:
        await eventually(lambda: index_exists(database))
        migration.process.send_signal(signal.SIGKILL)
        await migration.end()
        # Its server process does not see that until it has built the index; it dies too, as with its machine.
        build = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
        await eventually(lambda: question(database, build))
    assert await index_is_valid(database) is False
    await asyncio.to_thread(migrate, SERVICE, settings, additional=folder)

    assert await index_is_valid(database)
    assert await database.read(window_of) == Window(NEXT, HEAD)


KILL = """
import os, pathlib
mark = pathlib.Path({mark!r})
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), 9)
"""
MOMENTS = {
    "before the first revision": (KILL + ADD, INDEX),
    "in the transaction of a revision": (ADD + KILL, INDEX),
    "between two revisions": (ADD, KILL + INDEX),
    "after an index, before its revision is recorded": (ADD, INDEX + KILL),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_migration_that_was_killed_ends_well_when_it_is_run_again(
    settings: CommonSettings, database: Database, tmp_path: Path, moment: str
) -> None:
    kill = KILL.format(mark=str(tmp_path / "killed"))
    folder = write(tmp_path / "more", SERVICE, *(body.replace(KILL, kill) for body in MOMENTS[moment]))
    async with migrating(settings, folder) as migration:
        assert await migration.end() == -signal.SIGKILL
    between = await database.read(window_of)
    assert await columns(database) == (between.revision != HEAD)
    async with migrating(settings, folder) as migration:
        assert await migration.end() == 0

    assert await database.read(window_of) == Window(AFTER, HEAD)
    assert await columns(database) == 1
    assert await index_is_valid(database)
