"""Artworks under random faults: clients order on credit while every service is killed; then the checkers compare.

Faults, stack and the checker of generations are those of `generations`; `ArtworkChecker` adds the community's promises.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import update

from services.chassis.database import db_now, open_database
from services.community.core.orders import LONGEST_PAUSE_SECONDS
from services.community.model import Hold, OrderState
from services.community.model.orders import ENDED
from services.community.stores.tables import artwork_order
from tests.chaos.artwork_checker import ArtworkChecker, prompt_of
from tests.chaos.artwork_clients import ArtworkClients, artwork_order_of
from tests.chaos.checker import Checker
from tests.chaos.event_consumer import EventConsumer
from tests.chaos.evidence import Observations, gather_facts, rows_of
from tests.chaos.failpoints import COMMUNITY_FAILPOINTS, FAILPOINTS
from tests.chaos.generations import DRAIN_SECONDS, LOOK_SECONDS, background, drain
from tests.chaos.order_clients import ClientLog
from tests.chaos.process import OFFSETS
from tests.chaos.random_faults import RandomFaults
from tests.chaos.reconcile import reconciled
from tests.chaos.report import Report
from tests.chaos.stack import ChaosStack, random_of, running
from tests.e2e.community.callers import SECRET

AT_ONCE = 24
WAVE = 12  # artworks ordered at a time while there are not enough kills
INITIAL = 100_000
SHORTEN_SECONDS = 2.0
BETWEEN_KILLS_SECONDS = (0.5, 2.0)  # of kill_each_once
SETTINGS = {
    "AUTH_DEV_MODE": "0",
    "AUTH_HS256_SECRET": SECRET,
    "CREDITS_ENABLED": "1",
    "CREDITS_INITIAL": str(INITIAL),
}
ALL_FAILPOINTS = {**FAILPOINTS, **COMMUNITY_FAILPOINTS}
KILLED = ("gateway", "generation", "storage", "share", "community")


@dataclass(frozen=True)
class Goal:
    """How long faults are injected: until all numbers are reached, or the time is over."""

    seed: str
    artworks: int
    kills: int
    seconds: float

    def reached(self, stack: ChaosStack) -> bool:
        """Whether processes were killed often enough, and each service at least once."""
        return stack.ends >= self.kills and all(stack.processes[name].ends for name in KILLED)


async def run(data: Path, goal: Goal) -> Report:
    """One run from the start of the stack to the report."""
    began = time.monotonic()
    async with running(data, goal.seed, SETTINGS, tuple(OFFSETS)) as stack, AsyncExitStack() as exits:
        consumer = EventConsumer(stack.generation)
        clients = ArtworkClients(stack, consumer, AT_ONCE)
        exits.push_async_callback(clients.http.aclose)
        background(exits, consumer.run())
        background(exits, shorten_pauses(stack))
        faults = RandomFaults(stack, goal.kills, lambda: (consumer.ended + 1) / goal.artworks, ALL_FAILPOINTS)
        await faults.start()
        await apply_load(stack, faults, clients, goal)
        before = {name: process.ends for name, process in stack.processes.items()}
        await faults.stop()
        loaded = time.monotonic() - began
        ended, drained = await orders_ended(stack), await drain(stack)
        times = {"faults, s": loaded, "the community's drain, s": ended, "generation's drain, s": drained}
        report = await checked(stack, clients, {name: rounded(seconds) for name, seconds in times.items()}, before)
        after = await reconciled(stack, ClientLog(), drain)
        return Report([*report.rows, *after.rows], report.broken | after.broken)


async def apply_load(stack: ChaosStack, faults: RandomFaults, clients: ArtworkClients, goal: Goal) -> None:
    """Order artworks under faults until the goal is reached."""
    end = time.monotonic() + goal.seconds
    async with AsyncExitStack() as exits:
        for injecting in (faults.kill(), faults.freeze(), faults.disconnect(), kill_each_once(stack)):
            background(exits, injecting)
        numbers = range(goal.artworks)
        await order_all(clients, goal.seed, numbers)
        while not goal.reached(stack) and time.monotonic() < end:
            numbers = range(numbers.stop, numbers.stop + WAVE)
            await order_all(clients, goal.seed, numbers)


async def kill_each_once(stack: ChaosStack) -> None:
    """Kill each service once, so that a short run leaves none out."""
    rng = random_of(stack.seed, "tour")
    for name in rng.sample(KILLED, len(KILLED)):
        await asyncio.sleep(rng.uniform(*BETWEEN_KILLS_SECONDS))
        stack.processes[name].kill()


async def order_all(clients: ArtworkClients, seed: str, numbers: range) -> None:
    """Order artworks and wait for their answers."""
    await asyncio.gather(*(clients.order_until_answered(artwork_order_of(seed, number)) for number in numbers))


async def orders_ended(stack: ChaosStack, seconds: float = DRAIN_SECONDS) -> float | None:
    """Wait until every order of the community has ended; the seconds that took, None when one has not."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        (orders,) = await rows_of(stack, "community", artwork_order)
        if all(order.state in ENDED for order in orders):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def shorten_pauses(stack: ChaosStack) -> None:
    """Make orders due that the community would poll within its longest pause, instead of minutes later.

    An order that it would never poll again stays untouched, and the run does not settle.
    """
    soon = artwork_order.c.due_ms.between(db_now(), db_now() + int(LONGEST_PAUSE_SECONDS * 1000))
    due = update(artwork_order).where(artwork_order.c.state.not_in(ENDED), soon).values(due_ms=0)
    async with open_database(stack.settings, "community") as database:
        while True:
            await asyncio.sleep(SHORTEN_SECONDS)
            await database.write(lambda transaction: transaction.execute(due))


async def checked(stack: ChaosStack, clients: ArtworkClients, times: dict[str, object], ends: dict[str, int]) -> Report:
    """Check the generations as any run does, then the community."""
    facts, log = await gather_facts(stack), clients.log
    community = await ArtworkChecker.of(stack, facts, log, INITIAL)
    ordered = {prompt_of(order): order.generation_id for order in community.orders if order.generation_id}
    checker = Checker(facts, Observations.of(stack, ClientLog(accepted=ordered)))
    broken = checker.broken() | community.broken() | {"work that crashed": stack.logs.crashes()}
    hits = stack.logs.counted("kill")
    rows: list[tuple[str, object]] = [
        ("seed", stack.seed),
        *times.items(),
        ("artworks ordered, accepted", (len(log.ordered), len(log.accepted))),
        ("SIGKILLs", sum(ends.values())),
        ("  by process", ", ".join(f"{name} {count}" for name, count in ends.items())),
        ("  at failpoints", sum(hits.values())),
        (
            "  at the community's own",
            ", ".join(f"{point} {hits[point]}" for point in COMMUNITY_FAILPOINTS["community"]),
        ),
        ("SIGSTOPs of three leases", sum(process.freezes for process in stack.processes.values())),
        ("toxic connections", sum(bool(call.toxic) for call in stack.proxy.calls)),
        ("bills", len(facts.bills)),
        *((f"orders {state}", community.in_state(state)) for state in OrderState if state in ENDED),
        ("credits captured, held", (credits_in(community, Hold.CAPTURED), credits_in(community, Hold.HELD))),
    ]
    return Report(rows, broken)


def credits_in(community: ArtworkChecker, hold: Hold) -> int:
    """The credits of the orders whose hold is in a state."""
    return sum(order.cost for order in community.orders if order.hold == hold)


def rounded(seconds: float | None) -> object:
    """Whole seconds, or that the stack did not settle."""
    return round(seconds) if seconds is not None else "not settled"


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artworks", type=int, default=300)
    parser.add_argument("--kills", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=600, help="a ceiling for what has not been reached by then")
    parser.add_argument("--seed", default="")
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    goal = Goal(arguments.seed or secrets.token_hex(4), arguments.artworks, arguments.kills, arguments.seconds)
    with tempfile.TemporaryDirectory(prefix="kawaii-artworks-") as folder:
        report = asyncio.run(run(arguments.data or Path(folder), goal))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
