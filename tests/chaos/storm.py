"""The chaos run: a stack takes orders under faults, the faults end, the stack settles, the checker judges."""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from services.generation.model import FINAL, REMINDER
from services.generation.stores.tables import generation, inbox
from tests.chaos.book import Book
from tests.chaos.facts import DELIVERED, Bill, bills_of, rows_of
from tests.chaos.follower import Follower
from tests.chaos.orders import Customers, order_of
from tests.chaos.points import SERVICE_OF
from tests.chaos.reconcile import reconciled
from tests.chaos.stack import ChaosStack, running
from tests.chaos.verdict import Report, judge
from tests.chaos.weather import Storm
from tests.engines import postgres

ORDERS_AT_ONCE = 24
WAVE = 24  # orders placed at a time while there are not enough kills
# A ceiling for a busy machine; the longest honest wait is that of a copy which failed often: twice a minute.
DRAIN_SECONDS = 400.0
LOOK_SECONDS = 0.5
CALLBACK_TRIES = 4
CALM: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Wish:
    """How long the storm is to last: until all numbers are reached, or the time is over.

    hits is how often each failpoint is to have killed.
    """

    seed: str
    generations: int
    kills: int
    seconds: float
    hits: int = 0

    def fulfilled(self, stack: ChaosStack) -> bool:
        """Whether the stack was struck often enough."""
        killed = stack.diary.counted("kill")
        return stack.deaths >= self.kills and all(killed[point] >= self.hits for point in SERVICE_OF)


async def brew(data: Path, wish: Wish, database_url: str = "", settings: Mapping[str, str] = CALM) -> Report:
    """Run one storm from beginning to judgement; on PostgreSQL over two generations."""
    began = time.monotonic()
    settings = {"DATABASE_URL": database_url, **settings}
    async with running(data, wish.seed, settings, twins=bool(database_url)) as stack:
        book, follower = Book(), Follower(stack.generation)
        storm = Storm(stack, wish.kills, lambda: (follower.ended + 1) / wish.generations)
        customers = Customers(stack, book, follower, ORDERS_AT_ONCE)
        async with AsyncExitStack() as exits:
            exits.push_async_callback(customers.close)
            background(exits, follower.run())
            await storm.begin()
            await rage(stack, storm, customers, wish)
            await storm.end()
            raged = time.monotonic() - began
            await customers.errands.finish(DRAIN_SECONDS)
            settled = await drain(stack)
            report = await judge(stack, book, follower)
            after = await reconciled(stack, book, drain)
        times = [("storm, s", round(raged)), ("drain, s", round(settled) if settled is not None else "not settled")]
        rows = [("seed", wish.seed), *times, *report.rows, *after.rows]
        return Report(rows, report.broken | after.broken)


async def rage(stack: ChaosStack, storm: Storm, customers: Customers, wish: Wish) -> None:
    """Take orders under faults until the wish is fulfilled."""
    end = time.monotonic() + wish.seconds
    async with AsyncExitStack() as exits:
        for weather in (storm.kill(), storm.freeze(), storm.cut()):
            background(exits, weather)
        numbers = range(wish.generations)
        await place(customers, wish.seed, numbers)
        while not wish.fulfilled(stack) and time.monotonic() < end:
            numbers = range(numbers.stop, numbers.stop + WAVE)
            await place(customers, wish.seed, numbers)


async def place(customers: Customers, seed: str, numbers: range) -> None:
    """Place orders, as many at once as there are customers."""
    await asyncio.gather(*(customers.place(order_of(seed, number)) for number in numbers))


def background(exits: AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run something until the stack is left."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    exits.push_async_callback(stop)


async def drain(stack: ChaosStack, seconds: float = DRAIN_SECONDS) -> float | None:
    """Wait until nothing moves any more; how long it took, None if it still moved."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if await resting(stack) and not any(map(pending, await bills_of(stack))) and await resting(stack):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def resting(stack: ChaosStack) -> bool:
    """Whether every generation has ended and every webhook was read; reminders of ours wait as long as results live."""
    generations, webhooks = await rows_of(stack, "generation", generation, inbox)
    read = all(row.verdict or row.kind == REMINDER for row in webhooks)
    return read and all(row.state in FINAL for row in generations)


def pending(bill: Bill) -> bool:
    """Whether the provider will still call back."""
    taken = bill.tries.count(DELIVERED)
    return taken + (len(bill.tries) - taken) // CALLBACK_TRIES < bill.planned


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--hits", type=int, default=0, help="kills that each failpoint is to have")
    parser.add_argument("--seconds", type=float, default=1200, help="a ceiling for what has not been reached by then")
    parser.add_argument("--seed", default="")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL from its wheel, and two generations")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    wish = Wish(asked.seed or secrets.token_hex(4), asked.generations, asked.kills, asked.seconds, asked.hits)
    with ExitStack() as exits:
        folder = asked.data or Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kawaii-chaos-")))
        url = ""
        if asked.postgres:
            server = exits.enter_context(postgres())
            url = server.create_database()
            exits.callback(server.dump, url, folder / "database.sql")
        report = asyncio.run(brew(folder, wish, url))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
