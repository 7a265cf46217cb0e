"""The storm over the community: patrons order artworks on credit while every service is killed, and nothing is lost.

The stack, its weather and the checker of generations are those of `storm`; the curator judges what the community adds.
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
from tests.chaos.book import Book
from tests.chaos.checker import Checker
from tests.chaos.curator import Curator, prompt_of
from tests.chaos.facts import gather_facts, rows_of
from tests.chaos.follower import Follower
from tests.chaos.patrons import Patrons, commission_of
from tests.chaos.points import BESIDE, POINTS
from tests.chaos.process import OFFSETS
from tests.chaos.reconcile import reconciled
from tests.chaos.stack import ChaosStack, dice_of, running
from tests.chaos.storm import DRAIN_SECONDS, LOOK_SECONDS, background, drain
from tests.chaos.verdict import Report
from tests.chaos.weather import Storm
from tests.chaos.witness import Witness
from tests.e2e.community.callers import SECRET

AT_ONCE = 24
WAVE = 12  # artworks ordered at a time while there are not enough kills
INITIAL = 100_000
HASTE_SECONDS = 2.0
TOUR_SECONDS = (0.5, 2.0)  # between two kills of the tour
SETTINGS = {
    "AUTH_DEV_MODE": "0",
    "AUTH_HS256_SECRET": SECRET,
    "CREDITS_ENABLED": "1",
    "CREDITS_INITIAL": str(INITIAL),
}
ALL_POINTS = {**POINTS, **BESIDE}
STRUCK = ("gateway", "generation", "storage", "share", "community")


@dataclass(frozen=True)
class Wish:
    """How long the storm is to last: until all numbers are reached, or the time is over."""

    seed: str
    artworks: int
    kills: int
    seconds: float

    def fulfilled(self, stack: ChaosStack) -> bool:
        """Whether the stack was struck often enough, and each of its services at all."""
        return stack.deaths >= self.kills and all(stack.processes[name].deaths for name in STRUCK)


async def brew(data: Path, wish: Wish) -> Report:
    """Run one storm from beginning to judgement."""
    began = time.monotonic()
    async with running(data, wish.seed, SETTINGS, tuple(OFFSETS)) as stack, AsyncExitStack() as exits:
        follower = Follower(stack.generation)
        patrons = Patrons(stack, follower, AT_ONCE)
        exits.push_async_callback(patrons.http.aclose)
        background(exits, follower.run())
        background(exits, hasten(stack))
        storm = Storm(stack, wish.kills, lambda: (follower.ended + 1) / wish.artworks, ALL_POINTS)
        await storm.begin()
        await rage(stack, storm, patrons, wish)
        before = {name: process.deaths for name, process in stack.processes.items()}
        await storm.end()
        raged = time.monotonic() - began
        ended, settled = await concluded(stack), await drain(stack)
        times = {"storm, s": raged, "the community's drain, s": ended, "generation's drain, s": settled}
        report = await judged(stack, patrons, {name: rounded(seconds) for name, seconds in times.items()}, before)
        after = await reconciled(stack, Book(), drain)
        return Report([*report.rows, *after.rows], report.broken | after.broken)


async def rage(stack: ChaosStack, storm: Storm, patrons: Patrons, wish: Wish) -> None:
    """Take orders under faults until the wish is fulfilled."""
    end = time.monotonic() + wish.seconds
    async with AsyncExitStack() as exits:
        for weather in (storm.kill(), storm.freeze(), storm.cut(), tour(stack)):
            background(exits, weather)
        numbers = range(wish.artworks)
        await place(patrons, wish.seed, numbers)
        while not wish.fulfilled(stack) and time.monotonic() < end:
            numbers = range(numbers.stop, numbers.stop + WAVE)
            await place(patrons, wish.seed, numbers)


async def tour(stack: ChaosStack) -> None:
    """Kill each service once, so that a short storm leaves none out."""
    dice = dice_of(stack.seed, "tour")
    for name in dice.sample(STRUCK, len(STRUCK)):
        await asyncio.sleep(dice.uniform(*TOUR_SECONDS))
        stack.processes[name].kill()


async def place(patrons: Patrons, seed: str, numbers: range) -> None:
    """Order artworks, as many at once as there is room."""
    await asyncio.gather(*(patrons.place(commission_of(seed, number)) for number in numbers))


async def concluded(stack: ChaosStack, seconds: float = DRAIN_SECONDS) -> float | None:
    """Wait until every order of the community has ended; how long it took, None if one still had not."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        (orders,) = await rows_of(stack, "community", artwork_order)
        if all(order.state in ENDED for order in orders):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def hasten(stack: ChaosStack) -> None:
    """Cut the pauses between looks at silent orders short: they last minutes, and nothing is promised by them.

    Only an order that becomes due by itself within the longest pause is hastened: what the product would never look at
    again stays untouched, and the storm does not settle.
    """
    soon = artwork_order.c.due_ms.between(db_now(), db_now() + int(LONGEST_PAUSE_SECONDS * 1000))
    due = update(artwork_order).where(artwork_order.c.state.not_in(ENDED), soon).values(due_ms=0)
    async with open_database(stack.settings, "community") as database:
        while True:
            await asyncio.sleep(HASTE_SECONDS)
            async with database.write() as connection:
                await connection.execute(due)


async def judged(stack: ChaosStack, patrons: Patrons, times: dict[str, object], deaths: dict[str, int]) -> Report:
    """Read everything; check generation as any storm does, then the community."""
    facts, accounts = await gather_facts(stack), patrons.accounts
    curator = await Curator.of(stack, facts, accounts, INITIAL)
    ordered = {prompt_of(order): order.generation_id for order in curator.orders if order.generation_id}
    checker = Checker(facts, Witness.of(stack, Book(accepted=ordered)))
    broken = checker.broken() | curator.broken() | {"work that crashed": stack.diary.crashes()}
    hits = stack.diary.counted("kill")
    rows: list[tuple[str, object]] = [
        ("seed", stack.seed),
        *times.items(),
        ("artworks ordered, accepted", (len(accounts.wanted), len(accounts.accepted))),
        ("SIGKILLs", sum(deaths.values())),
        ("  by process", ", ".join(f"{name} {count}" for name, count in deaths.items())),
        ("  at failpoints", sum(hits.values())),
        ("  at the community's own", ", ".join(f"{point} {hits[point]}" for point in BESIDE["community"])),
        ("SIGSTOPs of three leases", sum(process.freezes for process in stack.processes.values())),
        ("toxic connections", sum(bool(call.toxic) for call in stack.proxy.calls)),
        ("bills", len(facts.bills)),
        *((f"orders {state}", curator.in_state(state)) for state in OrderState if state in ENDED),
        ("credits captured, held", (credits_in(curator, Hold.CAPTURED), credits_in(curator, Hold.HELD))),
    ]
    return Report(rows, broken)


def credits_in(curator: Curator, hold: Hold) -> int:
    """The credits of orders whose hold stands so."""
    return sum(order.cost for order in curator.orders if order.hold == hold)


def rounded(seconds: float | None) -> object:
    """Whole seconds, or that there was no end."""
    return round(seconds) if seconds is not None else "not settled"


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artworks", type=int, default=300)
    parser.add_argument("--kills", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=600, help="a ceiling for what has not been reached by then")
    parser.add_argument("--seed", default="")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    wish = Wish(asked.seed or secrets.token_hex(4), asked.artworks, asked.kills, asked.seconds)
    with tempfile.TemporaryDirectory(prefix="kawaii-artworks-") as folder:
        report = asyncio.run(brew(asked.data or Path(folder), wish))
    sys.stdout.write(f"{report}\n")
    return int(any(report.broken.values()))


if __name__ == "__main__":
    raise SystemExit(main())
