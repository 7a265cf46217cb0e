"""On SQLite the writers of a process take turns, and readers need not wait for them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, connect_database, sqlite
from services.chassis.errors import Unavailable
from services.chassis.settings import CommonSettings

WRITERS = 40  # far more than the pool has connections


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    settings = CommonSettings(data_dir=tmp_path, database_url="", _env_file=None)
    async with connect_database(settings, "turns") as opened:
        yield opened


async def test_writers_are_served_in_the_order_they_came(database: Database) -> None:
    served: list[int] = []

    async def write(number: int) -> None:
        async with database.write() as connection:
            await connection.execute(text("SELECT 1"))
            served.append(number)

    await asyncio.gather(*map(write, range(WRITERS)))

    assert served == list(range(WRITERS))


async def test_a_reader_is_served_while_writers_queue(database: Database) -> None:
    release = asyncio.Event()

    async def write() -> None:
        async with database.write():
            await release.wait()

    writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
    await asyncio.sleep(0)
    async with asyncio.timeout(sqlite.WAIT_SECONDS / 2):
        await database.ping()
    release.set()

    await asyncio.gather(*writers)


async def test_a_writer_that_waits_too_long_is_told_to_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.05)
    async with database.write():
        with pytest.raises(Unavailable):
            async with database.write():
                raise AssertionError


async def test_a_transaction_that_fails_gives_its_turn_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.write():
            raise ZeroDivisionError
    async with database.write() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
