"""Whether a lease can be renewed in time while 64 writers write, and how long the event loop is held up by them.

Each writer writes as fast as it can; every 200 ms something is renewed by `write_urgently`; a reader reads for five
seconds at a time. Ends with 1 when a renewal waited for more than a third of the shortest lease.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.database import ROWS, item, read, write
from services.chassis.database import Database, Transaction, connect_database
from services.chassis.settings import CommonSettings
from tests.support.engines import EngineMissingError
from tests.support.postgres import postgres

WRITERS = 64
LEASE_SECONDS = 30.0  # the shortest lease (docs/durable-core.md)
RENEWAL_SECONDS = 0.2
PROBE_SECONDS = 0.001
SLOW_READ_SECONDS = 5.0


def read_slowly(transaction: Transaction) -> None:
    """Hold a snapshot open."""
    end = time.monotonic() + SLOW_READ_SECONDS
    while time.monotonic() < end:
        read(transaction)


async def measure(engine: str, database: Database, seconds: float) -> bool:
    """Print one row; False when a renewal waited for too long."""
    await database.write(lambda transaction: item.metadata.create_all(transaction.connection))
    await database.write(lambda each: each.execute(item.insert(), [{"value": "a dog"}] * ROWS) and None)
    waits: list[float] = []
    lags: list[float] = []
    written = 0
    end = time.perf_counter() + seconds

    async def writer() -> None:
        nonlocal written
        while time.perf_counter() < end:
            await database.write(write)
            written += 1

    async def renewer() -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            await database.write_urgently(
                lambda each: each.execute(text("UPDATE item SET value = 'a' WHERE id = 1")) and None
            )
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(RENEWAL_SECONDS)

    async def reader() -> None:
        while time.perf_counter() < end and database.is_sqlite:
            await database.read(read_slowly)

    async def probe() -> None:
        while (began := time.perf_counter()) < end:
            await asyncio.sleep(PROBE_SECONDS)
            lags.append(time.perf_counter() - began - PROBE_SECONDS)

    await asyncio.gather(renewer(), reader(), probe(), *(writer() for _ in range(WRITERS)))
    lags.sort()
    held = f"{lags[int(len(lags) * 0.99)] * 1000:.1f} | {lags[-1] * 1000:.1f}"
    print(f"| {engine} | {written / seconds:,.0f} | {max(waits) * 1000:.0f} | {held} |")
    return max(waits) <= LEASE_SECONDS / 3


async def run(url: str, folder: Path, seconds: float) -> bool:
    """Measure one engine."""
    settings = CommonSettings(data_dir=folder, database_url=url, _env_file=None)
    async with connect_database(settings, "public") as database:
        return await measure("PostgreSQL" if url else "SQLite", database, seconds)


def main() -> int:
    """Measure each engine that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    print("| engine | writes/s | longest renewal ms | event loop held up, p99 ms | worst ms |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        enough = asyncio.run(run("", Path(folder), seconds))
        try:
            with postgres() as server:
                enough &= asyncio.run(run(server.create_database(), Path(folder), seconds))
        except EngineMissingError as missing:
            print(f"PostgreSQL is left out: {missing}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
