"""What the generation tests run on: a store on each real engine, and a town of doubles around the real core."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, open_database
from services.chassis.engines import make_engine
from services.chassis.migrations import migrate
from services.chassis.settings import TownSettings
from services.generation.bell import Bell
from services.generation.stores.mail import SqlInbox
from services.generation.stores.sql import SqlStore
from services.generation.stores.tables import metadata
from tests.engines import EngineMissingError, postgres
from tests.generation.town import Town, make_town

SERVICE = "generation"


def settings_of(folder: Path, database_url: str = "") -> TownSettings:
    return TownSettings(data_dir=folder, database_url=database_url, _env_file=None)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    folder = tmp_path_factory.mktemp("template")
    migrate(SERVICE, settings_of(folder))
    return folder / f"{SERVICE}.sqlite3"


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database on a real PostgreSQL."""
    try:
        with postgres() as server:
            url = server.create_database()
            migrate(SERVICE, settings_of(tmp_path_factory.mktemp("postgres"), url))
            yield url
    except EngineMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def sqlite(migrated_file: Path, tmp_path: Path) -> TownSettings:
    """An empty database of its own."""
    shutil.copy(migrated_file, tmp_path)
    return settings_of(tmp_path)


@pytest.fixture
def postgresql(postgres_url: str, tmp_path: Path) -> TownSettings:
    """The shared database, emptied."""
    settings = settings_of(tmp_path, postgres_url)
    asyncio.run(emptied(settings))
    return settings


async def emptied(settings: TownSettings) -> None:
    engine = make_engine(settings, SERVICE)
    async with engine.begin() as connection:
        names = ", ".join(metadata.tables)
        await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> TownSettings:
    """Every engine a store must work on."""
    settings: TownSettings = request.getfixturevalue(request.param)
    return settings


@pytest.fixture
async def database(engine: TownSettings) -> AsyncIterator[Database]:
    async with open_database(engine, SERVICE) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> SqlStore:
    """The store under contract."""
    return SqlStore(database, Bell())


@pytest.fixture
def letters(database: Database) -> SqlInbox:
    """The inbox under contract."""
    return SqlInbox(database, Bell())


@pytest.fixture
async def town(sqlite: TownSettings) -> AsyncIterator[Town]:
    """The whole core on a real SQLite file, between a provider and an archive that do what the test says."""
    async with open_database(sqlite, SERVICE) as opened:
        yield await make_town(opened)


@pytest.fixture
async def sqlite_store(sqlite: TownSettings) -> AsyncIterator[SqlStore]:
    """The store on one engine, for what does not depend on it."""
    async with open_database(sqlite, SERVICE) as opened:
        yield SqlStore(opened, Bell())
