"""Work that one replica does at a time: by whom, and who takes over."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text, update
from sqlalchemy.schema import CreateTable

from services.chassis.database import Database, Transaction, connect_database
from services.chassis.settings import CommonSettings
from services.chassis.sole_lease import SoleLease, lease_table
from tests.support.polling import eventually
from tests.support.postgres import Postgres

TABLE = lease_table(MetaData())
LONG_SECONDS, SHORT_SECONDS = 600.0, 0.3


@pytest.fixture
async def database(postgres_server: Postgres, tmp_path: Path) -> AsyncIterator[Database]:
    url = postgres_server.create_database()
    settings = CommonSettings(data_dir=tmp_path, database_url=url, _env_file=None)
    async with connect_database(settings, "public") as database:
        await database.write(Transaction.execute, CreateTable(TABLE))
        yield database


class Worker:
    """A replica that does nothing, for ever, whenever it may."""

    def __init__(self, database: Database, seconds: float) -> None:
        self.lease = SoleLease(database, TABLE, "work", seconds)
        self.works = False
        self.task = asyncio.create_task(self.lease.run(self.work))

    async def work(self) -> None:
        self.works = True
        try:
            await asyncio.Event().wait()
        finally:
            self.works = False

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_one_works_at_a_time_and_the_next_takes_over_at_once_when_it_stops(database: Database) -> None:
    workers = [Worker(database, LONG_SECONDS) for _ in range(2)]
    await eventually(lambda: any(worker.works for worker in workers))
    first, second = sorted(workers, key=lambda worker: not worker.works)
    for _ in range(3):  # the other asks, and is not given it
        assert not await second.lease._taken()

    await first.stop()
    await eventually(lambda: second.works)
    assert not first.works
    await second.stop()


async def test_the_lease_of_one_that_died_runs_out(database: Database) -> None:
    dead = SoleLease(database, TABLE, "work", SHORT_SECONDS)
    assert await dead._taken()
    successor = Worker(database, LONG_SECONDS)

    await eventually(lambda: successor.works)
    assert not await dead._taken()
    await successor.stop()


async def test_one_that_lost_its_lease_stops_working_and_one_that_keeps_it_goes_on(database: Database) -> None:
    worker = Worker(database, SHORT_SECONDS)
    await eventually(lambda: worker.works)

    async def renewed() -> bool:
        now = text("SELECT until_ms FROM sole_lease")
        return bool(await database.read(Transaction.scalar, now) != first)

    first = await database.read(Transaction.scalar, text("SELECT until_ms FROM sole_lease"))
    await eventually(renewed)
    assert worker.works

    theirs = update(TABLE).values(holder="another", until_ms=2**60)
    await database.write(Transaction.execute, theirs)
    await asyncio.wait_for(worker.task, 30)
    assert not worker.works


async def test_what_the_work_raises_comes_out_and_the_lease_is_given_back(database: Database) -> None:
    async def failing() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await SoleLease(database, TABLE, "work", LONG_SECONDS).run(failing)

    assert await SoleLease(database, TABLE, "work", LONG_SECONDS)._taken()


async def test_on_sqlite_the_work_is_done_and_nothing_is_written(tmp_path: Path) -> None:
    done: list[None] = []

    async def work() -> None:
        done.append(None)

    async with connect_database(CommonSettings(data_dir=tmp_path, _env_file=None), "one") as database:
        await SoleLease(database, TABLE, "work").run(work)  # there is no table

    assert done
