"""The event loop is not held up by transactions; where they compute on it, the process measures for how long."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from services.chassis.database import Database, Transaction, connect_database
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE

TURNS = 50  # of the event loop
LONG_SECONDS = 30.0
TOO_LONG_SECONDS = 0.03  # of computing; the bound is 0.02


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """A full one among the objects of all tests would count as the transaction's work."""
    gc.disable()
    yield
    gc.enable()


def too_long() -> float:
    """How many transactions held the loop up for longer than 20 ms."""
    every = REGISTRY.get_sample_value("kawaii_database_loop_seconds_count") or 0.0
    return every - (REGISTRY.get_sample_value("kawaii_database_loop_seconds_bucket", {"le": "0.02"}) or 0.0)


def compute(transaction: Transaction | None = None) -> None:
    """Use a core for longer than the loop may be held up."""
    if transaction is not None:
        transaction.execute(text("SELECT 1"))
    end = time.thread_time() + TOO_LONG_SECONDS
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("way", [Database.read, Database.write, Database.write_urgently])
async def test_the_event_loop_turns_while_a_function_computes_on_a_thread(
    sqlite: CommonSettings, way: Callable[..., Coroutine[None, None, bool]]
) -> None:
    turns = 0

    def compute_for_long(_transaction: Transaction) -> bool:
        end = time.monotonic() + LONG_SECONDS
        while turns < TURNS and time.monotonic() < end:
            pass
        return turns >= TURNS

    async with connect_database(sqlite, SERVICE) as database:
        task = asyncio.create_task(way(database, compute_for_long))
        while not task.done():
            await asyncio.sleep(0)
            turns += 1

        assert await task


async def test_what_a_transaction_computes_on_the_event_loop_is_measured(empty: CommonSettings) -> None:
    """PostgreSQL's functions run there, SQLite's do not."""
    async with connect_database(empty, SERVICE) as database:
        before = too_long()
        await database.write(compute)
        await database.read(compute)

        assert too_long() - before == (0 if database.is_sqlite else 2)


async def test_waiting_for_the_database_does_not_count(empty: CommonSettings) -> None:
    def wait(transaction: Transaction) -> None:
        if transaction.dialect == "postgresql":
            transaction.execute(text(f"SELECT pg_sleep({2 * TOO_LONG_SECONDS})"))
        else:
            time.sleep(2 * TOO_LONG_SECONDS)

    async with connect_database(empty, SERVICE) as database:
        before = too_long()
        await database.write(wait)

        assert too_long() - before == 0


async def test_what_a_notice_computes_after_the_commit_is_measured(empty: CommonSettings) -> None:
    async with connect_database(empty, SERVICE) as database:
        before = too_long()
        await database.write(lambda transaction: transaction.after_commit(compute))

        assert too_long() - before == 1


async def test_a_function_that_raises_is_measured_too(empty: CommonSettings) -> None:
    def fail(transaction: Transaction) -> None:
        compute(transaction)
        raise ZeroDivisionError

    async with connect_database(empty, SERVICE) as database:
        before = too_long()
        with pytest.raises(ZeroDivisionError):
            await database.write(fail)

        assert too_long() - before == (0 if database.is_sqlite else 1)
