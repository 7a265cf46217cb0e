"""A transaction that stays open while a test does other things."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

from sqlalchemy.util import await_only

from services.chassis.database import Database, Transaction


@asynccontextmanager
async def open_transaction(database: Database, *functions: Callable[[Transaction], object]) -> AsyncIterator[None]:
    """Run the first function, then the block, then the other functions, and commit.

    On SQLite it holds the database's one writer: what the block writes goes through another Database, as a replica's.
    """
    first, *last = functions
    loop, begun, left, left_in_thread = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), Event()

    def run(transaction: Transaction) -> None:
        first(transaction)
        loop.call_soon_threadsafe(begun.set)
        if transaction.dialect == "sqlite":
            left_in_thread.wait()
        else:
            await_only(left.wait())
        for function in last:
            function(transaction)

    running = asyncio.create_task(database.write(run))
    beginning = asyncio.create_task(begun.wait())
    await asyncio.wait([running, beginning], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield
    finally:
        left.set()
        left_in_thread.set()
        beginning.cancel()
        await running
