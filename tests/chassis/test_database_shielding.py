"""Callers may leave at any moment: the transaction they began ends, and its connection comes back."""

import asyncio
import random
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Database, connect_database, settled, shielded
from services.chassis.settings import CommonSettings

CALLERS = 300
DEADLINE_SECONDS = 30.0


@shielded
class Tally:
    """A store with one number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(text("CREATE TABLE tally (value INTEGER)"))
            await connection.execute(text("INSERT INTO tally VALUES (0)"))

    async def add(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(text("UPDATE tally SET value = value + 1"))

    async def value(self) -> int:
        async with self._database.read() as connection:
            return int(await connection.scalar(text("SELECT value FROM tally")) or 0)

    async def fail(self) -> None:
        raise ZeroDivisionError


async def test_callers_that_leave_cost_no_connection_and_their_transactions_are_finished(tmp_path: Path) -> None:
    """Without this, aiosqlite hangs within some dozens of cancellations."""
    dice = random.Random(7)
    settings = CommonSettings(data_dir=tmp_path, _env_file=None)
    async with asyncio.timeout(DEADLINE_SECONDS), connect_database(settings, "tally") as database:
        tally = Tally(database)
        await tally.make()
        for _ in range(CALLERS):
            caller = asyncio.create_task(tally.add())
            await asyncio.sleep(dice.random() * 0.002)
            caller.cancel()
            await asyncio.wait([caller])
        await settled()
        counted = await tally.value()

    assert counted >= CALLERS * 0.9  # a caller may leave before it began anything


async def test_what_a_method_raises_reaches_its_caller(tmp_path: Path) -> None:
    async with connect_database(CommonSettings(data_dir=tmp_path, _env_file=None), "tally") as database:
        with pytest.raises(ZeroDivisionError):
            await Tally(database).fail()
