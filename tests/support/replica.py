"""Another replica, in a thread of its own, that holds a transaction open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

from services.chassis.database import Transaction, connect_database
from services.chassis.settings import CommonSettings
from tests.support.polling import eventually


@asynccontextmanager
async def uncommitted(
    settings: CommonSettings, service: str, change: Callable[[Transaction], object]
) -> AsyncIterator[None]:
    """A transaction of another replica that has made its changes, and is committed when the block ends."""
    changed, ending = Event(), Event()

    def held(transaction: Transaction) -> None:
        change(transaction)
        changed.set()
        ending.wait()

    async def replica() -> None:
        async with connect_database(settings, service) as database:
            await database.write(held)

    running = asyncio.create_task(asyncio.to_thread(asyncio.run, replica()))

    async def begun() -> bool:
        return changed.is_set() or running.done()

    try:
        await eventually(begun)
        yield
    finally:
        ending.set()
        await running
