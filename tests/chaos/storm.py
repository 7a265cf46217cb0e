"""The chaos run: a town under faults takes orders, the faults end, the town settles, the checker judges; one table."""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

from services.generation.model import FINAL, State
from services.generation.stores.tables import generation, inbox
from tests.chaos.checker import Checker, Witness
from tests.chaos.facts import Bill, bills_of, gather_facts, rows_of
from tests.chaos.follower import Follower
from tests.chaos.orders import Book, Customers, order_of
from tests.chaos.town import ChaosTown, running
from tests.chaos.weather import Storm
from tests.engines import postgres

ORDERS_AT_ONCE = 24
WAVE = 24  # orders placed at a time while there are not enough kills
DRAIN_SECONDS = 180.0  # the longest honest wait: a copy that failed often is tried again after a minute, twice
LOOK_SECONDS = 0.5
CALLBACK_TRIES = 4
DELIVERED = 200
OFTEN = 10  # hits of a failpoint that reliability.md G1 asks for


@dataclass(frozen=True)
class Wish:
    """How long the storm is to last: until both numbers are reached, or the time is over."""

    seed: str
    generations: int
    kills: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """What a storm did, and what it broke."""

    rows: Sequence[tuple[str, object]]
    broken: dict[str, list[str]]

    def __str__(self) -> str:
        """One table, then what was broken."""
        lines = [*self.rows, *((what, len(found)) for what, found in self.broken.items())]
        width = max(len(name) for name, _ in lines)
        details = [f"{what}: {sentence}" for what, found in self.broken.items() for sentence in found[:10]]
        return "\n".join([*(f"{name:<{width}}  {value}" for name, value in lines), *details])


async def brew(data: Path, wish: Wish, database_url: str = "") -> Report:
    """Run one storm from beginning to judgement; on PostgreSQL over two generations."""
    began = time.monotonic()
    async with running(data, wish.seed, {"DATABASE_URL": database_url}, twins=bool(database_url)) as town:
        book, follower = Book(), Follower(town.generation)
        storm = Storm(town, wish.kills, lambda: (len(book.accepted) + 1) / wish.generations)
        async with AsyncExitStack() as stack:
            background(stack, follower.run())
            await storm.begin()
            await rage(town, storm, book, wish)
            await storm.end()
            raged = time.monotonic() - began
            settled = await drain(town)
            report = await judge(town, book, follower)
        times = [("storm, s", round(raged)), ("drain, s", round(settled) if settled is not None else "not settled")]
        return Report([("seed", wish.seed), *times, *report.rows], report.broken)


async def rage(town: ChaosTown, storm: Storm, book: Book, wish: Wish) -> None:
    """Take orders under faults until the wish is fulfilled."""
    end = time.monotonic() + wish.seconds
    customers = Customers(town, book, ORDERS_AT_ONCE)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(customers.close)
        background(stack, storm.kill())
        background(stack, storm.cut())
        await place(customers, wish.seed, range(wish.generations))
        while town.deaths < wish.kills and time.monotonic() < end:
            await place(customers, wish.seed, range(len(book.orders), len(book.orders) + WAVE))


async def place(customers: Customers, seed: str, numbers: range) -> None:
    """Place orders, as many at once as there are customers."""
    await asyncio.gather(*(customers.place(order_of(seed, number)) for number in numbers))


def background(stack: AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run something until the stack is left."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


async def drain(town: ChaosTown, seconds: float = DRAIN_SECONDS) -> float | None:
    """Wait until nothing moves any more; how long it took, None if it still moved."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if await resting(town) and not any(map(pending, await bills_of(town))) and await resting(town):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def resting(town: ChaosTown) -> bool:
    """Whether every generation has ended and every webhook was read."""
    generations, webhooks = await rows_of(town, "generation", generation, inbox)
    return all(row.state in FINAL for row in generations) and all(row.verdict for row in webhooks)


def pending(bill: Bill) -> bool:
    """Whether the provider will still call back."""
    taken = bill.tries.count(DELIVERED)
    return taken + (len(bill.tries) - taken) // CALLBACK_TRIES < bill.planned


async def judge(town: ChaosTown, book: Book, follower: Follower) -> Report:
    """Read everything and check it."""
    facts = await gather_facts(town)
    checker = Checker(facts, Witness(book, town.proxy.calls, town.strikes))
    missed = {row.sequence for row in facts.events} - set(follower.seen)
    hits, unknown = town.counted("kill"), checker.in_state(State.UNKNOWN)
    billed = {bill.attempt_id for bill in facts.bills}
    rows = [
        ("orders offered", len(book.orders)),
        ("accepted", len(book.accepted)),
        ("refused for good", len(book.refused)),
        ("SIGKILLs", town.deaths),
        ("  at failpoints", sum(hits.values())),
        ("  distinct failpoints", f"{len(hits)}, {sum(count >= OFTEN for count in hits.values())} of them ten times"),
        ("errors, sleeps, hangs", tuple(sum(town.counted(action).values()) for action in ("error", "sleep", "hang"))),
        ("toxic connections", sum(bool(call.toxic) for call in town.proxy.calls)),
        ("bills", len(facts.bills)),
        ("SUCCEEDED", len(checker.in_state(State.SUCCEEDED))),
        ("FAILED as the provider says", len(checker.in_state(State.FAILED))),
        ("UNKNOWN", len(unknown)),
        ("  predicted", len(checker.predicted())),
        ("  answer died with its reader", len({row.id for row in unknown} & checker.killed_in_hand())),
        ("  of them billed", sum(row.attempt_id in billed for row in unknown)),
        ("events followed", f"{len(follower.seen)}, repeated {len(follower.seen) - len(set(follower.seen))}"),
    ]
    return Report(rows, checker.broken() | {"events missed": sorted(map(str, missed))})


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default="")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL from its wheel, and two generations")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    wish = Wish(asked.seed or secrets.token_hex(4), asked.generations, asked.kills, asked.seconds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kawaii-chaos-")))
        url = stack.enter_context(postgres()).create_database() if asked.postgres else ""
        report = asyncio.run(brew(asked.data or folder, wish, url))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
