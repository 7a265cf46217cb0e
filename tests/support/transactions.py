"""A transaction that stays open while a test does other things. On PostgreSQL: SQLite's one writer would wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy.util import await_only

from services.chassis.database import Database, Transaction


@asynccontextmanager
async def open_transaction(database: Database, *functions: Callable[[Transaction], object]) -> AsyncIterator[None]:
    """Run the first functions, then the block, then the last function, if there are two, and commit."""
    first, *last = functions
    begun, left = asyncio.Event(), asyncio.Event()

    def run(transaction: Transaction) -> None:
        first(transaction)
        begun.set()
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
        beginning.cancel()
        await running
