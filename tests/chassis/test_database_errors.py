"""A PostgreSQL that is busy, full, failing over or silent is away, which time heals; it is no mistake of ours."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.chassis import database as chassis_database
from services.chassis.database import Database, make_engine, open_database, url_of
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.postgres import Postgres

SettingsOf = Callable[[str], CommonSettings]


@pytest.fixture
def settings_of(tmp_path: Path) -> SettingsOf:
    return lambda url: CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)


@asynccontextmanager
async def opened(settings: CommonSettings, seconds: float | None = None) -> AsyncIterator[Database]:
    """The database without a look at its schema."""
    engine = make_engine(settings, SERVICE, seconds)
    yield Database(engine)
    await engine.dispose()


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
    with pytest.raises(DBAPIError):
        async with open_database(settings_of(crowded(postgres_server)), SERVICE):
            pytest.fail("it was opened")


async def test_a_host_that_does_not_resolve_is_unavailable(settings_of: SettingsOf) -> None:
    async with opened(settings_of("postgresql://postgres@no-such-host.invalid/none")) as database:
        with pytest.raises(Unavailable):
            await database.ping()


async def test_a_server_that_says_nothing_is_unavailable(
    settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chassis_database, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel connects, nobody accepts
        port = server.getsockname()[1]
        async with opened(settings_of(f"postgresql://postgres@127.0.0.1:{port}/none")) as database:
            with pytest.raises(Unavailable):
                await database.ping()


async def test_a_statement_that_never_ends_is_left(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    async with opened(settings_of(postgres_server.create_database()), seconds=0.1) as database:
        with pytest.raises(Unavailable):
            async with database.write() as connection:
                await connection.execute(text("SELECT pg_sleep(600)"))

        await database.ping()


async def test_the_loser_of_a_deadlock_may_try_again(postgres_server: Postgres, settings_of: SettingsOf) -> None:
    async with opened(settings_of(postgres_server.create_database())) as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE public.pair AS SELECT id FROM generate_series(1, 2) id"))
        met = asyncio.Barrier(2)
        results = await asyncio.gather(cross(database, met, 1, 2), cross(database, met, 2, 1), return_exceptions=True)

    assert [type(outcome) for outcome in results if outcome] == [Unavailable]


async def cross(database: Database, met: asyncio.Barrier, first: int, second: int) -> None:
    """Lock two rows, the second when the other has its first."""
    lock = text("SELECT id FROM public.pair WHERE id = :id FOR UPDATE")
    async with database.write() as connection:
        await connection.execute(lock, {"id": first})
        await met.wait()
        await connection.execute(lock, {"id": second})


def test_sslmode_is_understood(settings_of: SettingsOf) -> None:
    url = url_of(settings_of("postgres://anna@db.example/kawaii?sslmode=require&application_name=x"), SERVICE)

    assert url == "postgresql+asyncpg://anna@db.example/kawaii?application_name=x&ssl=require"
