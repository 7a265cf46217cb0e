"""Every failpoint with every action: a town is struck once, and has to be whole again soon (reliability.md G3)."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checker import Checker, Witness
from tests.chaos.facts import gather_facts
from tests.chaos.follower import Follower
from tests.chaos.orders import Book, Customers, scripted
from tests.chaos.points import POINTS, SERVICE_OF
from tests.chaos.resident import calm
from tests.chaos.storm import background, drain
from tests.chaos.town import ChaosTown, running

ACTIONS = ("kill", "error", "hang")
# Together they pass every point: a good day, a lost answer with and without a callback, a refusal, a long call, an end.
SCRIPTS = (
    "ok",
    "reset-after,ok",
    "reset-after,nocallback",
    "429http then ok",
    "hang-after:1,dupcallback:2",
    "nocallback",
    "fail,ok",
)
HIT_SECONDS = 20.0  # the longest way to a point: a janitor's, over a lease and the patience for a callback
CONVERGE_SECONDS = 15.0  # reliability.md G3, after the fault is gone
TOWNS = 5  # side by side: a cell is mostly waiting
SETTINGS = {"GENERATION_UNKNOWN_AFTER_SECONDS": "2", "GENERATION_LEASE_SECONDS": "1", "FAILPOINT_HANG_SECONDS": "3"}


@dataclass
class Cell:
    """One point and one action, and what came of it."""

    point: str
    action: str
    seconds: float | None = None
    broken: list[str] = field(default_factory=list)

    @property
    def fault(self) -> dict[str, str]:
        """The variables that arm it, once."""
        return {"FAILPOINT": f"{self.point}:{self.action}:1"}

    @property
    def passed(self) -> bool:
        """Whether it was struck, and whole again in time."""
        return self.seconds is not None and self.seconds <= CONVERGE_SECONDS and not self.broken

    def __str__(self) -> str:
        """A line of the table."""
        took = "not whole" if self.seconds is None else f"{self.seconds:5.1f} s"
        return f"{self.point:<24}{self.action:<7}{took}  {'; '.join(self.broken)}".rstrip()


def cells(*actions: str) -> list[Cell]:
    """Every point with these actions."""
    return [Cell(point, action) for action in actions for points in POINTS.values() for point in points]


async def strike(town: ChaosTown, cell: Cell, number: int) -> None:
    """Arm the point for one life of its process, order, and wait until all is whole."""
    service = SERVICE_OF[cell.point]
    before = town.residents[service].lives
    town.faults = lambda name, life: cell.fault if (name, life) == (service, before) else {}
    await town.restart(service)
    book, hits = Book(), len(town.hits())
    customers, follower = Customers(town, book, len(SCRIPTS)), Follower(town.generation)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(customers.close)
        background(stack, follower.run())
        orders = [scripted(f"{town.seed}-{number}", n, script) for n, script in enumerate(SCRIPTS)]
        placing = asyncio.gather(*map(customers.place, orders))
        if not await struck(town, hits):
            cell.broken.append("the point was never passed")
        town.faults = calm
        began = time.monotonic()
        await placing
        if await drain(town, CONVERGE_SECONDS + HIT_SECONDS) is not None:
            cell.seconds = max(0.0, time.monotonic() - began - hang_of(town, cell))
    cell.broken += await found(town, book)


def hang_of(town: ChaosTown, cell: Cell) -> float:
    """How long the fault itself lasted."""
    return float(town.environment["FAILPOINT_HANG_SECONDS"]) if cell.action == "hang" else 0.0


async def struck(town: ChaosTown, before: int) -> bool:
    """Wait for the hit."""
    end = time.monotonic() + HIT_SECONDS
    while time.monotonic() < end:
        if len(town.hits()) > before:
            return True
        await asyncio.sleep(0.1)
    return False


async def found(town: ChaosTown, book: Book) -> list[str]:
    """What the checker says of the town so far."""
    checker = Checker(await gather_facts(town), Witness(book, town.proxy.calls, town.strikes))
    return [f"{what}: {sentence}" for what, sentences in checker.broken().items() for sentence in sentences]


async def run(folder: Path, seed: str, wanted: Sequence[Cell], towns: int = TOWNS) -> None:
    """Fill in the cells, in some towns side by side."""
    waiting = iter(enumerate(wanted))

    async def work(place: int) -> None:
        async with running(folder / str(place), f"{seed}-{place}", SETTINGS) as town:
            for number, cell in waiting:
                await strike(town, cell, number)

    await asyncio.gather(*map(work, range(towns)))


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", nargs="*", default=ACTIONS)
    parser.add_argument("--points", nargs="*", default=list(SERVICE_OF))
    parser.add_argument("--seed", default="matrix")
    asked = parser.parse_args()
    wanted = [cell for cell in cells(*asked.actions) if cell.point in asked.points]
    with tempfile.TemporaryDirectory(prefix="kawaii-matrix-") as folder:
        asyncio.run(run(Path(folder), asked.seed, wanted))
    failed = [cell for cell in wanted if not cell.passed]
    sys.stdout.write(
        "\n".join([*map(str, wanted), f"{len(wanted) - len(failed)} of {len(wanted)} cells converge"]) + "\n"
    )
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
