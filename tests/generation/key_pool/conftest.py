"""What the key tests run on: the pool on each real engine, a clock that is moved by moving rows, and the stand-in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.chassis.database import Database, open_database
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings
from services.generation.stores.key_pool import SqlKeyPool, open_key_pool
from tests.generation.key_pool.support import CREATES, ONE, ONE_B, TWO, PoolClock
from tests.sandbox.support import QUICK, Process
from tests.support.ports import free_base

SERVICE = "generation"


@pytest.fixture
async def pool(database: Database) -> SqlKeyPool:
    """Two accounts, the first with two keys."""
    return await open_key_pool(database, Notifier(), [ONE, ONE_B, TWO], CREATES)


@pytest.fixture
async def single(database: Database) -> SqlKeyPool:
    """One account with one key."""
    return await open_key_pool(database, Notifier(), [ONE], CREATES)


@pytest.fixture
def pool_clock(database: Database) -> PoolClock:
    """Moves the pool's clock."""
    return PoolClock(database)


@pytest.fixture
async def sqlite_database(sqlite: CommonSettings) -> AsyncIterator[Database]:
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
