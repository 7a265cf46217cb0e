"""A PostgreSQL that is busy, full, failing over or silent is away, which time heals; it is no mistake of ours."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.util import await_only

from services.chassis import database as database_module
from services.chassis.database import (
    COLLISION,
    Database,
    Transaction,
    connect_database,
    open_database,
    postgresql,
    url_of,
)
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.postgres import Postgres

LONG_SECONDS = 20.0
SettingsOf = Callable[[str], CommonSettings]


@pytest.fixture
def settings_of(tmp_path: Path) -> SettingsOf:
    return lambda url: CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)


@asynccontextmanager
async def opened(settings: CommonSettings, seconds: float = 30.0) -> AsyncIterator[Database]:
    """The database without a look at its schema."""
    async with connect_database(settings, SERVICE, seconds) as database:
        yield database


def crowded(server: Postgres) -> str:
    """A database in which nobody may connect any more, as when all connections are taken."""
    url = server.create_database()
    user = f"poor_{url.rpartition('/')[2]}"
    role = f"CREATE ROLE {user} LOGIN CONNECTION LIMIT 0"
    subprocess.run([server.binaries / "psql", "-q", "-c", role, url], check=True)
    return url.replace("postgres@", f"{user}@")


async def test_a_crowded_server_is_unavailable(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    async with opened(settings_of(crowded(postgres_server))) as database:
        with pytest.raises(Unavailable):
            await database.ping()


async def test_a_crowded_server_at_the_start_is_no_reason_to_give_up(
    postgres_server: Postgres, settings_of: SettingsOf
) -> None:
    """Exit 78 would tell the launcher that a restart cannot help, and the operator to migrate."""
    with pytest.raises(Unavailable):
        async with open_database(settings_of(crowded(postgres_server)), SERVICE):
            pytest.fail("it was opened")


async def test_a_host_that_does_not_resolve_is_unavailable(settings_of: SettingsOf) -> None:
    async with opened(settings_of("postgresql://postgres@no-such-host.invalid/none")) as database:
        with pytest.raises(Unavailable):
            await database.ping()


async def test_a_server_that_says_nothing_is_unavailable(
    settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(database_module, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel connects, nobody accepts
        port = server.getsockname()[1]
        async with opened(settings_of(f"postgresql://postgres@127.0.0.1:{port}/none")) as database:
            with pytest.raises(Unavailable):
                await database.ping()


async def test_a_statement_that_never_ends_is_left(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    async with opened(settings_of(postgres_server.create_database()), seconds=0.1) as database:
        with pytest.raises(Unavailable):
            await database.write(run, "SELECT pg_sleep(600)")

        await database.ping()


async def test_the_loser_of_a_deadlock_may_try_again(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    async with opened(settings_of(postgres_server.create_database())) as database:
        await database.write(run, "CREATE TABLE public.pair AS SELECT id FROM generate_series(1, 2) id")
        meeting = Meeting()
        crossing = (database.write(meeting.cross, 1, 2), database.write(meeting.cross, 2, 1))
        outcomes = await asyncio.gather(*crossing, return_exceptions=True)

    refusals = [outcome for outcome in outcomes if outcome is not None]
    assert meeting.tries >= 3
    assert len(refusals) < 2
    assert all(isinstance(refusal, Unavailable) and refusal.reason == COLLISION for refusal in refusals)


class Meeting:
    """Two transactions that lock two rows crosswise; the loser's second try may overtake the winner, and meet it."""

    def __init__(self) -> None:
        self._met = asyncio.Barrier(2)
        self.tries = 0

    def cross(self, transaction: Transaction, first: int, second: int) -> None:
        """Lock two rows, the second when the other transaction has its first."""
        self.tries += 1
        lock = text("SELECT id FROM public.pair WHERE id = :id FOR UPDATE")
        transaction.execute(lock, {"id": first})
        if self.tries <= 2:
            await_only(self._met.wait())
        transaction.execute(lock, {"id": second})


def run(transaction: Transaction, statement: str) -> None:
    transaction.execute(text(statement))


def test_sslmode_is_understood(settings_of: SettingsOf) -> None:
    url = url_of(settings_of("postgres://anna@db.example/kawaii?sslmode=require&application_name=x"), SERVICE)

    assert url == "postgresql+asyncpg://anna@db.example/kawaii?application_name=x&ssl=require"


async def test_a_full_pool_sheds_and_keeps_a_connection_for_what_is_urgent(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "WAIT_SECONDS", 0.05)
    url = postgres_server.create_database()
    settings = CommonSettings(data_dir=tmp_path, database_url=url, database_connections=2, _env_file=None)
    async with connect_database(settings, SERVICE) as database:
        holding = Holding()
        holder = asyncio.create_task(database.write(holding.hold))
        async with asyncio.timeout(LONG_SECONDS):
            await holding.begun.wait()
        with pytest.raises(Unavailable) as refusal:
            await database.write(run, "SELECT 1")
        await database.write_urgently(run, "SELECT 1")
        holding.released.set()
        await holder

    assert refusal.value.retry_after


async def test_reads_pass_while_all_writes_wait_for_a_lock(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    url = postgres_server.create_database()
    async with opened(settings_of(url)) as other, opened(settings_of(url)) as database:
        holding = Holding("SELECT pg_advisory_xact_lock(1)")
        holder = asyncio.create_task(other.write(holding.hold))
        async with asyncio.timeout(LONG_SECONDS):
            await holding.begun.wait()
            waiting = [asyncio.create_task(database.write(run, holding.statement)) for _ in range(20)]
            await asyncio.gather(*(database.ping() for _ in range(20)))
            still = sum(not write.done() for write in waiting)
            holding.released.set()
            await asyncio.gather(holder, *waiting)

    assert still == 20


async def test_the_locks_of_a_process_that_hangs_in_a_transaction_are_freed(
    postgres_server: Postgres, settings_of: SettingsOf
) -> None:
    """As of a host whose line is cut: the server hears nothing, and would wait for it for hours."""
    url = postgres_server.create_database()
    async with opened(settings_of(url)) as hung, opened(settings_of(url)) as database:
        holding = Holding("SELECT pg_advisory_xact_lock(1)")
        holder = asyncio.create_task(hung.write(holding.hold))
        async with asyncio.timeout(LONG_SECONDS):
            await holding.begun.wait()
            await database.write(run, holding.statement)
        holding.released.set()
        with pytest.raises(Unavailable):
            await holder


class Holding:
    """Holds a transaction open."""

    def __init__(self, statement: str = "SELECT 1") -> None:
        self.begun, self.released = asyncio.Event(), asyncio.Event()
        self.statement = statement

    def hold(self, transaction: Transaction) -> None:
        """Keep the connection, and what the statement locks, until released."""
        transaction.execute(text(self.statement))
        self.begun.set()
        await_only(self.released.wait())


async def test_connections_that_died_in_the_pool_are_replaced(postgres_server: Postgres, tmp_path: Path) -> None:
    """As after a restart of the server, or of a proxy between: nothing was begun, so nothing is refused."""
    url = postgres_server.create_database()
    settings = CommonSettings(data_dir=tmp_path, database_url=url, database_connections=4, _env_file=None)
    async with connect_database(settings, SERVICE) as database:
        await asyncio.gather(*(database.write(run, "SELECT pg_sleep(0.05)") for _ in range(3)))
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kawaii-generation'"
        psql = (postgres_server.binaries / "psql", "-q", "-c", kill, url)
        await asyncio.to_thread(subprocess.run, psql, check=True, capture_output=True)
        answers = await asyncio.gather(*(database.write(run, "SELECT 1") for _ in range(3)))

    assert answers == [None, None, None]
