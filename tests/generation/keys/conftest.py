"""What the key tests run on: the pool on each real engine, a clock that is moved by moving rows, and the stand-in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.chassis.database import Database, open_database
from services.chassis.settings import TownSettings
from services.generation.bell import Bell
from services.generation.stores.keys import SqlKeys, open_keys
from tests.generation.keys.lab import CREATES, ONE, ONE_B, TWO, Hand
from tests.sandbox.support import QUICK, Process, free_base

SERVICE = "generation"


@pytest.fixture
async def pool(database: Database) -> SqlKeys:
    """Two accounts, the first with two keys."""
    return await open_keys(database, Bell(), [ONE, ONE_B, TWO], CREATES)


@pytest.fixture
async def single(database: Database) -> SqlKeys:
    """One account with one key."""
    return await open_keys(database, Bell(), [ONE], CREATES)


@pytest.fixture
def hand(database: Database) -> Hand:
    """Moves the pool's clock."""
    return Hand(database)


@pytest.fixture
async def sqlite_database(sqlite: TownSettings) -> AsyncIterator[Database]:
    """One engine, for what does not depend on it."""
    async with open_database(sqlite, SERVICE) as opened:
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
