"""Whether a lease can be renewed in time while 64 writers write, and how long the event loop is held up by them.

Each writer writes as fast as it can; every 200 ms something is renewed by `write_urgently`; in the second half a reader
reads for five seconds at a time: on SQLite it computes without pause, on PostgreSQL it waits in the database. Then more
callers come at once than may wait. Ends with 1 when a renewal waited for more than a third of the shortest lease, a
caller too many was not told when to come back, or the event loop computed for one transaction for more than 20 ms.

The lag of the event loop is told twice: as it was, and without the time in which its thread waited for a core.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import REGISTRY
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.database import ROWS, item, read, write
from services.chassis.database import Database, Transaction, connect_database
from services.chassis.database.metrics import MAX_QUEUED
from services.chassis.errors import Unavailable
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.settings import CommonSettings
from tests.support.engines import EngineMissingError
from tests.support.postgres import postgres

WRITERS = 64
LEASE_SECONDS = 30.0  # the shortest lease (docs/durable-core.md)
RENEWAL_SECONDS = 0.2
PROBE_SECONDS = 0.001
SLOW_READ_SECONDS = 5.0
CALLERS_AT_ONCE = 3 * MAX_QUEUED
HEAD = (
    "| | writes/s | refused | longest renewal ms | write, p99 ms | worst | loop's lag, p99 ms | worst "
    "| beside waits for a core, p99 ms | worst |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
Act = Callable[[], Awaitable[object]]


def read_slowly(transaction: Transaction) -> None:
    """Hold a snapshot open."""
    if transaction.dialect == "postgresql":
        transaction.execute(text(f"SELECT pg_sleep({SLOW_READ_SECONDS})"))
        return
    end = time.monotonic() + SLOW_READ_SECONDS
    while time.monotonic() < end:
        read(transaction)


def renew(transaction: Transaction) -> None:
    """What a lease loop writes."""
    transaction.execute(text("UPDATE item SET value = 'a' WHERE id = 1"))


def waited_for_a_core() -> float:
    """Seconds in which this thread could have run and another had its core, since it began."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def too_long_on_the_loop() -> int:
    """How many transactions had the event loop compute for more than 20 ms at a stretch."""
    found = REGISTRY.get_sample_value
    every = found("kawaii_database_loop_seconds_count") or 0.0
    return int(every - (found("kawaii_database_loop_seconds_bucket", {"le": "0.02"}) or 0.0))


class Load:
    """The writers, a lease loop and a probe of the event loop, for a time; and what they saw, in seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writes: list[float] = []
        self.renewals: list[float] = []
        self.lags: list[float] = []
        self.lags_beside_waits: list[float] = []
        self.refused = 0
        self._end = 0.0

    async def run(self, seconds: float, *, reader: bool) -> None:
        """Load the database."""
        self._end = time.perf_counter() + seconds
        writers = (self._repeat(self.writes, lambda: self._database.write(write)) for _ in range(WRITERS))
        renewer = self._repeat(self.renewals, lambda: self._database.write_urgently(renew), RENEWAL_SECONDS)
        readers = [self._repeat([], lambda: self._database.read(read_slowly))] if reader else []
        await asyncio.gather(renewer, self._probe(), *readers, *writers)

    async def _repeat(self, waits: list[float], act: Act, pause: float = 0.0) -> None:
        while (began := time.perf_counter()) < self._end:
            try:
                await act()
            except Unavailable:
                self.refused += 1
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(pause)

    async def _probe(self) -> None:
        while (began := time.perf_counter()) < self._end:
            waited = waited_for_a_core()
            await asyncio.sleep(PROBE_SECONDS)
            lag = time.perf_counter() - began - PROBE_SECONDS
            self.lags.append(lag)
            self.lags_beside_waits.append(max(0.0, lag - (waited_for_a_core() - waited)))


async def shed(database: Database) -> tuple[int, int, float]:
    """Call more often at once than may wait: the refusals, those that say when to come back, and a renewal's wait."""
    callers = [asyncio.create_task(database.write(write)) for _ in range(CALLERS_AT_ONCE)]
    await asyncio.sleep(0)
    began = time.perf_counter()
    await database.write_urgently(renew)
    renewed = time.perf_counter() - began
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    refusals = [each for each in outcomes if isinstance(each, Unavailable)]
    return len(refusals), sum(bool(each.retry_after) for each in refusals), renewed


async def measure(engine: str, database: Database, seconds: float) -> bool:
    """Print the rows of one engine; False when it is not good enough."""
    await database.write(lambda transaction: item.metadata.create_all(transaction.connection))
    await database.write(lambda each: each.execute(item.insert(), [{"value": "a dog"}] * ROWS) and None)
    enough, before = True, too_long_on_the_loop()
    for reader in (False, True):
        load = Load(database)
        await load.run(seconds / 2, reader=reader)
        longest = max(load.renewals)
        enough &= longest <= LEASE_SECONDS / 3
        cells = [f"{len(load.writes) / (seconds / 2):,.0f}", str(load.refused)]
        cells += [f"{longest * 1000:.0f}", *(quantiles(load.writes)), *quantiles(load.lags)]
        cells += quantiles(load.lags_beside_waits)
        print(f"| {engine}{', a slow reader' if reader else ''} | {' | '.join(cells)} |")
    refused, told, renewed = await shed(database)
    held = too_long_on_the_loop() - before
    print(
        f"\n{engine}: of {CALLERS_AT_ONCE} callers at once {refused} were refused, {told} of them with a time to come "
        f"back; a renewal among them took {renewed * 1000:.0f} ms. The event loop computed for more than 20 ms at a "
        f"stretch for {held} transactions.\n"
    )
    return enough and refused == told > 0 and renewed <= LEASE_SECONDS / 3 and not held


def quantiles(seconds: list[float]) -> list[str]:
    """The 99th percentile and the worst, in milliseconds."""
    ordered = sorted(seconds)
    return [f"{value * 1000:.1f}" for value in (ordered[int(len(ordered) * 0.99)], ordered[-1])]


async def run(url: str, folder: Path, seconds: float) -> bool:
    """Measure one engine."""
    settings = CommonSettings(data_dir=folder, database_url=url, _env_file=None)
    async with connect_database(settings, "public") as database:
        print(HEAD)
        return await measure("PostgreSQL" if url else "SQLite", database, seconds)


def main() -> int:
    """Measure each engine that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    freeze_startup_objects()  # as a process of the stack does
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
