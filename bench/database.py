"""Transactions a second through the data layer, against the one whose statements are awaited, interleaved.

A write inserts, selects and updates; a read selects twice. Each engine, 1, 8 and 64 callers; medians of the rounds.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench._awaited_database import AwaitedDatabase, awaited_postgresql, awaited_sqlite
from services.chassis.database import Database, Transaction, connect_database
from services.chassis.settings import CommonSettings
from tests.support.engines import EngineMissingError
from tests.support.postgres import postgres

CALLERS = (1, 8, 64)
ROUNDS, SECONDS = 5, 1.0
ROWS = 1000
WANTED = {("SQLite", "write"): 3.0, ("SQLite", "read"): 4.0, ("PostgreSQL", "write"): 1.0, ("PostgreSQL", "read"): 1.0}

item = Table("item", MetaData(), Column("id", Integer, primary_key=True), Column("value", Text))
_numbers = count()
Act = Callable[[], Awaitable[object]]


def write(transaction: Transaction) -> int:
    """Insert, select and update."""
    transaction.execute(insert(item).values(value="a cat " * 20))
    key = _key()
    found = transaction.scalar(select(item.c.value).where(item.c.id == key))
    transaction.execute(update(item).where(item.c.id == key).values(value=found))
    return len(found or "")


def read(transaction: Transaction) -> int:
    """Select twice."""
    rows = transaction.execute(select(item).where(item.c.id > _key()).order_by(item.c.id).limit(10)).all()
    return len(rows) + int(transaction.scalar(select(func.length(item.c.value)).where(item.c.id == _key())) or 0)


async def awaited_write(connection: AsyncConnection) -> int:
    """The same, awaited."""
    await connection.execute(insert(item).values(value="a cat " * 20))
    key = _key()
    found = await connection.scalar(select(item.c.value).where(item.c.id == key))
    await connection.execute(update(item).where(item.c.id == key).values(value=found))
    return len(found or "")


async def awaited_read(connection: AsyncConnection) -> int:
    """The same, awaited."""
    rows = (await connection.execute(select(item).where(item.c.id > _key()).order_by(item.c.id).limit(10))).all()
    found = await connection.scalar(select(func.length(item.c.value)).where(item.c.id == _key()))
    return len(rows) + int(found or 0)


def _key() -> int:
    return 1 + next(_numbers) * 7919 % ROWS


@dataclass
class Measured:
    """What one layer did with so many callers: a rate for each round, and every latency in milliseconds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    async def round(self, act: Act, callers: int) -> None:
        """Have the callers call for a while."""
        done, end = 0, time.perf_counter() + SECONDS

        async def call() -> None:
            nonlocal done
            while (began := time.perf_counter()) < end:
                await act()
                self.latencies.append((time.perf_counter() - began) * 1000)
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        self.rates.append(done / (time.perf_counter() - began))

    def quantile(self, share: float) -> float:
        """A quantile of the latencies."""
        return sorted(self.latencies)[int(share * (len(self.latencies) - 1))]


async def compare(engine: str, now: Database, before: AwaitedDatabase) -> bool:
    """Print the table of one engine; False when a ratio is below what is wanted."""
    await now.write(lambda transaction: item.metadata.create_all(transaction.connection))
    await now.write(lambda transaction: transaction.execute(insert(item), [{"value": "a dog " * 20}] * ROWS) and None)

    async def old(kind: str) -> int:
        async with before.write() if kind == "write" else before.read() as connection:
            return await (awaited_write if kind == "write" else awaited_read)(connection)

    acts: dict[str, tuple[Act, Act]] = {
        "read": (lambda: now.read(read), lambda: old("read")),
        "write": (lambda: now.write(write), lambda: old("write")),
    }
    print(f"\n| {engine} | callers | transactions/s | awaited | ratio | p50 ms | awaited | p99 ms | awaited |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    enough = True
    for kind, (new_act, old_act) in acts.items():
        for callers in CALLERS:
            new, awaited = Measured(), Measured()
            for _ in range(ROUNDS):
                await new.round(new_act, callers)
                await awaited.round(old_act, callers)
            ratio = statistics.median(a / b for a, b in zip(new.rates, awaited.rates, strict=True))
            enough &= callers == 1 or ratio >= WANTED[engine, kind]
            print(
                f"| {kind} | {callers} | {statistics.median(new.rates):,.0f} | {statistics.median(awaited.rates):,.0f} "
                f"| {ratio:.2f} | {new.quantile(0.5):.2f} | {awaited.quantile(0.5):.2f} "
                f"| {new.quantile(0.99):.2f} | {awaited.quantile(0.99):.2f} |"
            )
    return enough


async def measure(url: str, folder: Path) -> bool:
    """Measure one engine."""
    settings = CommonSettings(data_dir=folder, database_url=url, _env_file=None)
    before = awaited_postgresql(url) if url else awaited_sqlite(folder / "public.sqlite3")
    async with AsyncExitStack() as exits:
        now = await exits.enter_async_context(connect_database(settings, "public"))
        exits.push_async_callback(before.engine.dispose)
        return await compare("PostgreSQL" if url else "SQLite", now, before)


def main() -> int:
    """Measure each engine that is here."""
    with tempfile.TemporaryDirectory() as folder:
        enough = asyncio.run(measure("", Path(folder)))
        try:
            with postgres() as server:
                enough &= asyncio.run(measure(server.create_database(), Path(folder)))
        except EngineMissingError as missing:
            print(f"PostgreSQL is left out: {missing}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
