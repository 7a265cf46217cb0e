"""Every failpoint with every action: a stack is struck once, and has to be whole again soon.

See docs/testing.md#fault-injector.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.book import Book, Order
from tests.chaos.checker import Checker
from tests.chaos.facts import gather_facts
from tests.chaos.follower import Follower
from tests.chaos.orders import Customers, scripted
from tests.chaos.points import POINTS, SERVICE_OF
from tests.chaos.process import calm
from tests.chaos.stack import ChaosStack, running
from tests.chaos.storm import background, drain
from tests.chaos.witness import Witness
from tests.engines import Postgres, postgres

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
ROUNDS, ROUND_SECONDS = 6, 20.0  # orders are placed anew while no order passes the point, which a busy machine may do
SOON_SECONDS = 15.0  # after the fault is gone; told, and not what a cell is judged by
CEILING_SECONDS = 180.0  # a stack that has not converged by then never will
KINDS = ("gateway", "generation", "storage", "sandbox")  # those that have points, and the provider
STACKS = 5  # side by side: a cell is mostly waiting
TWIN_STACKS = 3  # of two generations each, which share the hundred connections of one PostgreSQL
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
    def converged(self) -> bool:
        """Whether it was struck, and is whole again."""
        return self.seconds is not None and not self.broken

    @property
    def soon(self) -> bool:
        """Whether that was as soon as we want it on a quiet machine."""
        return self.converged and self.seconds is not None and self.seconds <= SOON_SECONDS

    def __str__(self) -> str:
        """A line of the table."""
        took = "not whole" if self.seconds is None else f"{self.seconds:5.1f} s"
        return f"{self.point:<24}{self.action:<7}{took}  {'; '.join(self.broken)}".rstrip()


def cells(*actions: str) -> list[Cell]:
    """Every point with these actions."""
    return [Cell(point, action) for action in actions for points in POINTS.values() for point in points]


@dataclass
class MatrixRun:
    """A stack in which cells are struck one after the other, and what was found broken in it before."""

    chaos: ChaosStack
    known: set[str] = field(default_factory=set)

    async def strike(self, cell: Cell, number: int) -> None:
        """Arm the point for one life of its process, order until it is passed, and wait until all is whole."""
        stack, service, book = self.chaos, SERVICE_OF[cell.point], Book()
        before, hits = stack.processes[service].lives, len(stack.diary.hits())
        stack.faults = lambda name, life: cell.fault if (name, life) == (service, before) else {}
        await stack.restart(service)
        async with AsyncExitStack() as exits:
            customers = await ordering(exits, stack, book)
            if not await self._passed(customers, number, hits):
                cell.broken.append("the point was never passed")
            stack.faults = calm
            began = time.monotonic()
            await customers.finish()
            if await drain(stack, CEILING_SECONDS) is not None:
                cell.seconds = max(0.0, time.monotonic() - began - hang_of(stack, cell))
        cell.broken += await self._found(book)

    async def _passed(self, customers: "Crowd", number: int, hits: int) -> bool:
        """Order until the point is passed."""
        for turn in range(ROUNDS):
            customers.order([scripted(f"{self.chaos.seed}-{number}-{turn}", n, day) for n, day in enumerate(SCRIPTS)])
            if await struck(self.chaos, hits):
                return True
        return False

    async def _found(self, book: Book) -> list[str]:
        """What the checker says of the stack now and did not say before."""
        checker = Checker(await gather_facts(self.chaos), Witness.of(self.chaos, book))
        told = {f"{what}: {sentence}" for what, found in checker.broken().items() for sentence in found}
        fresh, self.known = told - self.known, told | self.known
        return sorted(fresh)


@dataclass
class Crowd:
    """Customers whose orders are under way."""

    customers: Customers
    placing: list[asyncio.Task[None]] = field(default_factory=list)

    def order(self, orders: Sequence[Order]) -> None:
        """Begin to place orders."""
        self.placing += [asyncio.create_task(self.customers.place(order)) for order in orders]

    async def finish(self) -> None:
        """Wait until somebody has said yes or no to each."""
        await asyncio.gather(*self.placing)


async def ordering(exits: AsyncExitStack, stack: ChaosStack, book: Book) -> Crowd:
    """Customers, and a consumer of the events, until the stack is left."""
    follower = Follower(stack.generation)
    customers = Customers(stack, book, follower, ROUNDS * len(SCRIPTS))
    exits.push_async_callback(customers.close)
    background(exits, follower.run())
    return Crowd(customers)


def hang_of(stack: ChaosStack, cell: Cell) -> float:
    """How long the fault itself lasted."""
    return float(stack.environment["FAILPOINT_HANG_SECONDS"]) if cell.action == "hang" else 0.0


async def struck(stack: ChaosStack, before: int) -> bool:
    """Wait for the hit."""
    end = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < end:
        if len(stack.diary.hits()) > before:
            return True
        await asyncio.sleep(0.1)
    return False


async def run(
    folder: Path, seed: str, wanted: Sequence[Cell], stacks: int = STACKS, server: Postgres | None = None
) -> None:
    """Fill in the cells, in some stacks side by side; on PostgreSQL each has two generations."""
    waiting = iter(enumerate(wanted))

    async def work(place: int) -> None:
        settings = SETTINGS | {"DATABASE_URL": server.create_database() if server else ""}
        async with running(folder / str(place), f"{seed}-{place}", settings, KINDS, twins=bool(server)) as chaos:
            stack = MatrixRun(chaos)
            for number, cell in waiting:
                await stack.strike(cell, number)

    await asyncio.gather(*map(work, range(stacks)))


def summary(struck_cells: Sequence[Cell]) -> str:
    """The last line of the table."""
    whole, soon = sum(cell.converged for cell in struck_cells), sum(cell.soon for cell in struck_cells)
    slowest = max((cell.seconds or 0.0 for cell in struck_cells), default=0.0)
    return f"{whole} of {len(struck_cells)} cells converge, {soon} within {SOON_SECONDS:.0f} s; slowest {slowest:.1f} s"


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", nargs="*", default=ACTIONS)
    parser.add_argument("--points", nargs="*", default=list(SERVICE_OF))
    parser.add_argument("--seed", default="matrix")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL from its wheel, and two generations")
    asked = parser.parse_args()
    wanted = [cell for cell in cells(*asked.actions) if cell.point in asked.points]
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kawaii-matrix-")))
        server = exits.enter_context(postgres()) if asked.postgres else None
        asyncio.run(run(folder, asked.seed, wanted, TWIN_STACKS if server else STACKS, server))
    sys.stdout.write("\n".join([f"seed {asked.seed}", *map(str, wanted), summary(wanted)]) + "\n")
    return not all(cell.soon for cell in wanted)


if __name__ == "__main__":
    raise SystemExit(main())
