"""Callers may leave at any moment: the transaction they began ends, and its connection comes back."""

import asyncio
import random
import threading

from sqlalchemy import text

from services.chassis.database import Transaction, connect_database
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.polling import eventually

CALLERS = 300
DEADLINE_SECONDS = 30.0


def make(transaction: Transaction) -> None:
    transaction.execute(text("CREATE TABLE tally (value INTEGER)"))
    transaction.execute(text("INSERT INTO tally VALUES (0)"))


class Tally:
    """Counts in the database, and beside it how often the function was run to its end."""

    def __init__(self) -> None:
        self.run = 0

    def add(self, transaction: Transaction) -> None:
        transaction.execute(text("UPDATE tally SET value = value + 1"))
        self.run += 1


def value(transaction: Transaction) -> int:
    return int(transaction.scalar(text("SELECT value FROM tally")) or 0)


async def test_what_callers_that_left_had_begun_is_finished_and_no_more(empty: CommonSettings) -> None:
    dice, tally = random.Random(7), Tally()
    async with asyncio.timeout(DEADLINE_SECONDS), connect_database(empty, "public") as database:
        await database.write(make)
        for _ in range(CALLERS):
            caller = asyncio.create_task(database.write(tally.add))
            await asyncio.sleep(dice.random() * 0.002)
            caller.cancel()
            await asyncio.wait([caller])
        await database.write(tally.add)
        counted = await database.read(value)
    async with connect_database(empty, "public") as database:
        final = await database.read(value)

    assert 1 <= counted <= final == tally.run


async def test_a_caller_that_leaves_the_queue_had_no_effect(sqlite: CommonSettings) -> None:
    begun, released, tally = threading.Event(), threading.Event(), Tally()

    def hold(_transaction: Transaction) -> None:
        begun.set()
        released.wait(DEADLINE_SECONDS)

    async with connect_database(sqlite, SERVICE) as database:
        await database.write(make)
        holder = asyncio.create_task(database.write(hold))
        await eventually(begun.is_set)
        callers = [asyncio.create_task(database.write(tally.add)) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        released.set()
        await holder
        counted = await database.read(value)

    assert (counted, tally.run) == (0, 0)
