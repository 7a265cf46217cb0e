"""Generations under random faults: clients order while processes are killed and connections fail.

A run has four parts: load under faults until the goal is reached; the faults end and the stack settles; the checker
compares all records; what the provider has billed and we have not is reconciled, and everything is checked again.
"""

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
from tests.chaos.event_consumer import EventConsumer
from tests.chaos.evidence import DELIVERED, Bill, bills_of, rows_of
from tests.chaos.failpoints import SERVICE_OF
from tests.chaos.order_clients import ClientLog, OrderClients, order_of
from tests.chaos.random_faults import RandomFaults
from tests.chaos.reconcile import reconciled
from tests.chaos.report import Report, check
from tests.chaos.stack import ChaosStack, running
from tests.support.postgres import postgres

ORDERS_AT_ONCE = 24
WAVE = 24  # orders sent at a time while there are not enough kills
# A ceiling for a busy machine; the longest wait is that of a copy which failed often: twice a minute.
DRAIN_SECONDS = 400.0
LOOK_SECONDS = 0.5
CALLBACK_TRIES = 4
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Goal:
    """How long faults are injected: until all numbers are reached, or the time is over.

    `hits` is how often each failpoint is to have killed a process.
    """

    seed: str
    generations: int
    kills: int
    seconds: float
    hits: int = 0

    def reached(self, stack: ChaosStack) -> bool:
        """Whether processes were killed often enough, at each failpoint too."""
        killed = stack.logs.counted("kill")
        return stack.ends >= self.kills and all(killed[point] >= self.hits for point in SERVICE_OF)


async def run(data: Path, goal: Goal, database_url: str = "", settings: Mapping[str, str] = NO_SETTINGS) -> Report:
    """One run from the start of the stack to the report; on PostgreSQL with two generation processes."""
    began = time.monotonic()
    settings = {"DATABASE_URL": database_url, **settings}
    async with running(data, goal.seed, settings, two_generations=bool(database_url)) as stack:
        log, consumer = ClientLog(), EventConsumer(stack.generation)
        faults = RandomFaults(stack, goal.kills, lambda: (consumer.ended + 1) / goal.generations)
        clients = OrderClients(stack, log, consumer, ORDERS_AT_ONCE)
        async with AsyncExitStack() as exits:
            exits.push_async_callback(clients.close)
            background(exits, consumer.run())
            await faults.start()
            await apply_load(stack, faults, clients, goal)
            await faults.stop()
            loaded = time.monotonic() - began
            await clients.follow_ups.finish(DRAIN_SECONDS)
            drained = await drain(stack)
            report = await check(stack, log, consumer)
            after = await reconciled(stack, log, drain)
        times = [("faults, s", round(loaded)), ("drain, s", round(drained) if drained is not None else "not settled")]
        rows = [("seed", goal.seed), *times, *report.rows, *after.rows]
        return Report(rows, report.broken | after.broken)


async def apply_load(stack: ChaosStack, faults: RandomFaults, clients: OrderClients, goal: Goal) -> None:
    """Send orders under faults until the goal is reached."""
    end = time.monotonic() + goal.seconds
    async with AsyncExitStack() as exits:
        for injecting in (faults.kill(), faults.freeze(), faults.disconnect()):
            background(exits, injecting)
        numbers = range(goal.generations)
        await place_orders(clients, goal.seed, numbers)
        while not goal.reached(stack) and time.monotonic() < end:
            numbers = range(numbers.stop, numbers.stop + WAVE)
            await place_orders(clients, goal.seed, numbers)


async def place_orders(clients: OrderClients, seed: str, numbers: range) -> None:
    """Send orders and wait for their answers."""
    await asyncio.gather(*(clients.order_until_answered(order_of(seed, number)) for number in numbers))


def background(exits: AsyncExitStack, work: Coroutine[None, None, None]) -> None:
    """Run something beside the rest until the context ends."""
    task = asyncio.create_task(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    exits.push_async_callback(stop)


async def drain(stack: ChaosStack, seconds: float = DRAIN_SECONDS) -> float | None:
    """Wait until no work, no webhook and no callback is pending; the seconds that took, None when one still is."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if await all_ended(stack) and not any(map(callback_pending, await bills_of(stack))) and await all_ended(stack):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def all_ended(stack: ChaosStack) -> bool:
    """Whether every generation has ended and every webhook was processed; reminders wait as long as results live."""
    generations, webhooks = await rows_of(stack, "generation", generation, inbox)
    read = all(row.verdict or row.kind == REMINDER for row in webhooks)
    return read and all(row.state in FINAL for row in generations)


def callback_pending(bill: Bill) -> bool:
    """Whether the provider will still send a callback for a task."""
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
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL, and two generation processes")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    goal = Goal(
        arguments.seed or secrets.token_hex(4),
        arguments.generations,
        arguments.kills,
        arguments.seconds,
        arguments.hits,
    )
    with ExitStack() as exits:
        folder = arguments.data or Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kawaii-chaos-")))
        url = ""
        if arguments.postgres:
            server = exits.enter_context(postgres())
            url = server.create_database()
            exits.callback(server.dump, url, folder / "database.sql")
        report = asyncio.run(run(folder, goal, url))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
