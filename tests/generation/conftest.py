"""What the generation tests run on: a store on each real engine, and a harness of doubles around the real core."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, connect_database, open_database
from services.chassis.migrations import migrate
from services.chassis.notifier import Notifier
from services.chassis.parking import Parking
from services.chassis.settings import CommonSettings
from services.generation.key_pool.pool import KeyPool
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import SqlInbox
from services.generation.stores.key_pool import open_key_pool
from services.generation.stores.leases import make_parking
from services.generation.stores.tables import metadata
from services.generation.timing import Timing
from services.generation.workers.prune import Pruner
from tests.generation.harness import Harness, make_harness
from tests.generation.key_pool.support import CREATES, ONE, ONE_B, TWO, PoolClock
from tests.sandbox.support import QUICK, Process
from tests.support.awaited import Awaited, awaited
from tests.support.ports import free_base
from tests.support.postgres import Postgres

SERVICE = "generation"


def settings_of(folder: Path, database_url: str = "") -> CommonSettings:
    return CommonSettings(data_dir=folder, database_url=database_url, _env_file=None)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    folder = tmp_path_factory.mktemp("template")
    migrate(SERVICE, settings_of(folder))
    return folder / f"{SERVICE}.sqlite3"


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database on a real PostgreSQL."""
    url = postgres_server.create_database()
    migrate(SERVICE, settings_of(tmp_path_factory.mktemp("postgres"), url))
    return url


@pytest.fixture
def sqlite(migrated_file: Path, tmp_path: Path) -> CommonSettings:
    """An empty database of its own."""
    shutil.copy(migrated_file, tmp_path)
    return settings_of(tmp_path)


@pytest.fixture
def postgresql(postgres_url: str, tmp_path: Path) -> CommonSettings:
    """The shared database, emptied."""
    settings = settings_of(tmp_path, postgres_url)
    asyncio.run(emptied(settings))
    return settings


async def emptied(settings: CommonSettings) -> None:
    names = ", ".join(metadata.tables)
    truncate = text(f"TRUNCATE {names} RESTART IDENTITY")
    async with connect_database(settings, SERVICE) as database:
        await database.write(lambda transaction: transaction.execute(truncate) and None)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> CommonSettings:
    """Every engine a store must work on."""
    settings: CommonSettings = request.getfixturevalue(request.param)
    return settings


@pytest.fixture
def notifier() -> Notifier:
    """Whom the commits of the fixtures' databases wake."""
    return Notifier()


@pytest.fixture
async def database(engine: CommonSettings, notifier: Notifier) -> AsyncIterator[Database]:
    async with open_database(engine, SERVICE, notifier) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> Awaited:
    """The store under contract."""
    return awaited(database, SqlGenerationStore())


@pytest.fixture
def inbox_store(database: Database) -> Awaited:
    """The inbox under contract."""
    return awaited(database, SqlInbox())


@pytest.fixture
def pruner(database: Database) -> Pruner:
    """Prunes what the stores under contract hold."""
    return Pruner(database, SqlGenerationStore(), SqlInbox(), Timing())


@pytest.fixture
async def harness(sqlite: CommonSettings, notifier: Notifier) -> AsyncIterator[Harness]:
    """The whole core on a real SQLite file, between a provider and a storage that do what the test says."""
    async with open_database(sqlite, SERVICE, notifier) as opened:
        yield await make_harness(opened, notifier)


@pytest.fixture
async def sqlite_store(sqlite: CommonSettings) -> AsyncIterator[Awaited]:
    """The store on one engine, for what does not depend on it."""
    async with open_database(sqlite, SERVICE) as opened:
        yield awaited(opened, SqlGenerationStore())


@pytest.fixture
def parking(database: Database) -> Parking:
    return make_parking(database)


@pytest.fixture
async def pool(database: Database) -> KeyPool:
    """Two accounts, the first with two keys."""
    return await open_key_pool(database, [ONE, ONE_B, TWO], CREATES)


@pytest.fixture
async def single(database: Database) -> KeyPool:
    """One account with one key."""
    return await open_key_pool(database, [ONE], CREATES)


@pytest.fixture
def pool_clock(database: Database) -> PoolClock:
    """Moves the pool's clock."""
    return PoolClock(database)


@pytest.fixture
async def sqlite_database(sqlite: CommonSettings, notifier: Notifier) -> AsyncIterator[Database]:
    """One engine, for what does not depend on it."""
    async with open_database(sqlite, SERVICE, notifier) as opened:
        yield opened


@pytest.fixture
def hasty_upstream(tmp_path: Path) -> Iterator[Process]:
    """The same, counting creates in windows of a second instead of ten."""
    process = Process(tmp_path / "hasty", free_base(), QUICK | {"SANDBOX_CREATE_WINDOW_SECONDS": "1"})
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The real stand-in, as a process of its own."""
    process = Process(tmp_path_factory.mktemp("upstream"), free_base(), QUICK)
    process.start()
    yield process
    assert process.stop() == 0
