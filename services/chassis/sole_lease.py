"""A lease that one replica of a service holds at a time: for work that two would only do twice.

Nothing may rest on it: a holder that pauses for longer than its lease, or is cut off from the database, has a successor
beside it. When the holder dies, another takes over once the lease has run out; when it stops, at once.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from prometheus_client import Gauge
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, delete, or_

from services.chassis.database import Database, Transaction, db_now, upsert
from services.chassis.errors import Unavailable
from services.chassis.lease_loop import LOOK_SECONDS, RENEWALS

LEASE_SECONDS = 6.0  # how late a successor takes over from a process that died; longer than a busy machine's pauses
HELD = Gauge(
    "kawaii_sole_lease_held", "1 while this process does the work that one replica does at a time.", ("lease",)
)

logger = structlog.get_logger()


def lease_table(metadata: MetaData) -> Table:
    """The table of one service; its migration makes the same."""
    return Table(
        "sole_lease",
        metadata,
        Column("name", Text, primary_key=True),
        Column("holder", Text, nullable=False),
        Column("until_ms", BigInteger, nullable=False),
    )


class SoleLease:
    """One lease by its name. On SQLite, which one process uses, it is always held and never written."""

    def __init__(self, database: Database, table: Table, name: str, seconds: float = LEASE_SECONDS) -> None:
        self._database, self._table, self._name, self._seconds = database, table, name, seconds
        self._holder = secrets.token_hex(8)

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, which goes on until it is cancelled, while the lease is held; wait while another holds it.

        Raises:
            Unavailable: the database is away.
            what the work raises.
        """
        if self._database.is_sqlite:
            await work()
            return
        while not await self._taken():  # noqa: ASYNC110 - the lease of another process sets no event
            await asyncio.sleep(LOOK_SECONDS)
        logger.info("sole_lease_taken", lease=self._name)
        HELD.labels(self._name).set(1)
        try:
            await self._worked(work)
        finally:
            HELD.labels(self._name).set(0)
            with suppress(Unavailable):  # then it runs out
                await self._database.write_urgently(self._give_back)

    async def _worked(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(work())
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=self._seconds / RENEWALS)
                if not task.done() and not await self._taken():
                    logger.warning("sole_lease_lost", lease=self._name)
                    return
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _taken(self) -> bool:
        return await self._database.write_urgently(self._take)

    def _take(self, transaction: Transaction) -> bool:
        """Take the lease, or prolong it; False while another holds it."""
        table = self._table
        values = {"holder": self._holder, "until_ms": db_now() + int(self._seconds * 1000)}
        free = or_(table.c.holder == self._holder, table.c.until_ms <= db_now())
        statement = upsert(transaction, table).values(name=self._name, **values)
        taken = statement.on_conflict_do_update(index_elements=["name"], set_=values, where=free)
        return transaction.execute(taken).rowcount > 0

    def _give_back(self, transaction: Transaction) -> None:
        table = self._table
        transaction.execute(delete(table).where(table.c.name == self._name, table.c.holder == self._holder))
