"""Of a host that is cut off PostgreSQL frees the locks, and does not hand them to its other connections in turn."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Transaction, connect_database
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.e2e.stack import ROOT
from tests.fleet.network import Host, Network, NoNamespacesError, network
from tests.support.polling import eventually
from tests.support.postgres import Postgres, postgres

LOCK = text("SELECT pg_advisory_xact_lock(1)")
WAITING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
HOLDING = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
PATIENCE_SECONDS = 10.0  # what a call has
# Holds the lock in a transaction that never ends, while others of the same process wait for it.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import text
from sqlalchemy.util import await_only
from services.chassis.database import connect_database
from services.chassis.settings import CommonSettings

LOCK = text("SELECT pg_advisory_xact_lock(1)")

def hold(transaction):
    transaction.execute(LOCK)
    held.set()
    await_only(asyncio.Event().wait())

async def main():
    global held
    held = asyncio.Event()
    settings = CommonSettings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], _env_file=None)
    async with connect_database(settings, "generation", 60.0) as database, asyncio.TaskGroup() as group:
        group.create_task(database.write(hold))
        await held.wait()
        for _ in range(int(sys.argv[3])):
            group.create_task(database.write(lambda transaction: transaction.execute(LOCK)))
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def net() -> Iterator[Network]:
    try:
        with network() as made:
            yield made
    except NoNamespacesError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def server(net: Network) -> Iterator[Postgres]:
    with postgres(net.client, (), str(net.net)) as server:
        yield server


@pytest.fixture
def away(net: Network) -> Iterator[Host]:
    """A host, whose programs end with the test."""
    host = net.host("away")
    yield host
    for process in host.processes:
        process.kill()
        process.wait()


async def abandoned(host: Host, settings: CommonSettings, waiting: int, tmp_path: Path) -> None:
    """Start the program on a host and wait until it holds the lock and so many wait for it."""
    words = (sys.executable, "-c", PROGRAM, str(tmp_path), settings.database_url, str(waiting))
    process = host.start(words, os.environ, tmp_path / "log", ROOT)
    async with connect_database(settings, SERVICE, PATIENCE_SECONDS) as database:

        async def begun() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            counts = [await database.read(lambda t, q=query: t.execute(q).scalar_one()) for query in (HOLDING, WAITING)]
            return counts == [1, waiting]

        await eventually(begun)


async def takes_lock(settings: CommonSettings) -> bool:
    """Whether the lock can be taken within the time that a call has."""
    async with connect_database(settings, SERVICE, PATIENCE_SECONDS) as database:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await database.write(Transaction.execute, LOCK)
        except (Unavailable, TimeoutError):
            return False
    return True


async def test_the_locks_of_a_host_that_is_cut_off_pass_to_others(away: Host, server: Postgres, tmp_path: Path) -> None:
    settings = CommonSettings(data_dir=tmp_path, database_url=server.create_database(), _env_file=None)
    await abandoned(away, settings, 3, tmp_path)
    away.cut()

    assert await takes_lock(settings)
