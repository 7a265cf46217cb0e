"""Every failpoint with every action: the fault is injected once, and the stack has to converge afterwards.

With --commits instead a kill between COMMIT and answer of every function of a store that orders pass, each once.

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

from tests.chaos.checker import Checker
from tests.chaos.event_consumer import EventConsumer
from tests.chaos.evidence import Observations, gather_facts
from tests.chaos.failpoints import SERVICE_OF
from tests.chaos.generations import background, drain
from tests.chaos.order_clients import ClientLog, Order, OrderClients, scripted
from tests.chaos.process import no_faults
from tests.chaos.stack import ChaosStack, running
from tests.support.postgres import Postgres, postgres

ACTIONS = ("kill", "error", "hang")
# Together they pass every failpoint: a success, lost answers with and without a callback, a refusal, a slow answer, a
# failure.
SCRIPTS = (
    "ok",
    "reset-after,ok",
    "reset-after,nocallback",
    "429http then ok",
    "hang-after:1,dupcallback:2",
    "nocallback",
    "fail,ok",
)
ROUNDS, ROUND_SECONDS = 6, 20.0  # orders are sent anew while none passes the failpoint, as on a busy machine
SOON_SECONDS = 15.0  # after the fault; printed, and no test asserts it
CEILING_SECONDS = 180.0  # a stack that has not converged by then never will
KINDS = ("gateway", "generation", "storage", "sandbox")  # those that have points, and the provider
STACKS = 5  # side by side: a cell is mostly waiting
POSTGRES_STACKS = 3  # of two generations each, which share the hundred connections of one PostgreSQL
COMMITTING = ("generation", "storage")  # processes with a database that orders pass
COMMIT = "commit."  # begins the name of the failpoint behind the commit of a function (services/chassis/database)
SETTINGS = {"GENERATION_UNKNOWN_AFTER_SECONDS": "2", "GENERATION_LEASE_SECONDS": "1", "FAILPOINT_HANG_SECONDS": "3"}


@dataclass
class Cell:
    """One failpoint and one action, and the result."""

    point: str
    action: str
    service: str
    seconds: float | None = None
    broken: list[str] = field(default_factory=list)

    @property
    def fault(self) -> dict[str, str]:
        """The variables that arm the failpoint, once."""
        return {"FAILPOINT": f"{self.point}:{self.action}:1"}

    @property
    def converged(self) -> bool:
        """Whether the stack has settled, and no promise is broken."""
        return self.seconds is not None and not self.broken

    @property
    def soon(self) -> bool:
        """Whether it has converged within SOON_SECONDS."""
        return self.converged and self.seconds is not None and self.seconds <= SOON_SECONDS

    def __str__(self) -> str:
        """A line of the table."""
        took = "not settled" if self.seconds is None else f"{self.seconds:5.1f} s"
        return f"{self.point:<32}{self.action:<7}{took}  {'; '.join(self.broken)}".rstrip()


def cells_of(*actions: str) -> list[Cell]:
    """Every failpoint with these actions."""
    return [Cell(point, action, SERVICE_OF[point]) for action in actions for point in SERVICE_OF]


async def commit_cells(folder: Path, seed: str, server: Postgres | None) -> list[Cell]:
    """A kill after each commit that orders pass: one run notes which there are."""
    settings = SETTINGS | {"DATABASE_URL": server.create_database() if server else ""}
    async with running(folder, seed, settings, KINDS, two_generations=bool(server)) as chaos:
        chaos.faults = lambda name, _start: {"FAILPOINT": "*:note"} if name in COMMITTING else {}
        for service in COMMITTING:
            await chaos.restart(service)
        async with AsyncExitStack() as exits:
            pending = await ordering(exits, chaos, ClientLog())
            for turn in range(ROUNDS):
                pending.order([scripted(f"{seed}-{turn}", n, script) for n, script in enumerate(SCRIPTS)])
            await pending.finish()
            await drain(chaos, CEILING_SECONDS)
        service_of = {run.pid: each for run in chaos.runs for each in COMMITTING if run.name.startswith(each)}
        found = {(service_of[hit.pid], hit.point) for hit in chaos.logs.hits() if hit.point.startswith(COMMIT)}
    return [Cell(point, "kill", service) for service, point in sorted(found)]


@dataclass
class MatrixRun:
    """A stack in which cells are run one after the other, and the broken promises that earlier cells have left."""

    chaos: ChaosStack
    known: set[str] = field(default_factory=set)

    async def inject(self, cell: Cell, number: int) -> None:
        """Arm the failpoint for one run of its process, order until it is hit, and wait until the stack has settled."""
        stack, service, log = self.chaos, cell.service, ClientLog()
        before, hits = stack.processes[service].starts, len(stack.logs.hits())
        stack.faults = lambda name, start: cell.fault if (name, start) == (service, before) else {}
        await stack.restart(service)
        async with AsyncExitStack() as exits:
            pending = await ordering(exits, stack, log)
            if not await self._hit(pending, number, hits):
                cell.broken.append("the failpoint was never hit")
            stack.faults = no_faults
            began = time.monotonic()
            await pending.finish()
            if await drain(stack, CEILING_SECONDS) is not None:
                cell.seconds = max(0.0, time.monotonic() - began - hang_of(stack, cell))
        cell.broken += await self._found(log)

    async def _hit(self, pending: "PendingOrders", number: int, hits: int) -> bool:
        """Send orders until the failpoint is hit; whether it was."""
        for turn in range(ROUNDS):
            pending.order(
                [scripted(f"{self.chaos.seed}-{number}-{turn}", n, script) for n, script in enumerate(SCRIPTS)]
            )
            if await wait_for_hit(self.chaos, hits):
                return True
        return False

    async def _found(self, log: ClientLog) -> list[str]:
        """Promises that the checker finds broken now and did not find before."""
        checker = Checker(await gather_facts(self.chaos), Observations.of(self.chaos, log))
        found_now = {f"{what}: {sentence}" for what, found in checker.broken().items() for sentence in found}
        fresh, self.known = found_now - self.known, found_now | self.known
        return sorted(fresh)


@dataclass
class PendingOrders:
    """Orders that wait for their answers."""

    clients: OrderClients
    sending: list[asyncio.Task[None]] = field(default_factory=list)

    def order(self, orders: Sequence[Order]) -> None:
        """Begin to send orders."""
        self.sending += [asyncio.create_task(self.clients.order_until_answered(order)) for order in orders]

    async def finish(self) -> None:
        """Wait until each order is accepted or refused for good."""
        await asyncio.gather(*self.sending)


async def ordering(exits: AsyncExitStack, stack: ChaosStack, log: ClientLog) -> PendingOrders:
    """Clients, and a consumer of events that they need, until the context ends."""
    consumer = EventConsumer(stack.generation)
    clients = OrderClients(stack, log, consumer, ROUNDS * len(SCRIPTS))
    exits.push_async_callback(clients.close)
    background(exits, consumer.run())
    return PendingOrders(clients)


def hang_of(stack: ChaosStack, cell: Cell) -> float:
    """The seconds that the fault itself lasted."""
    return float(stack.environment["FAILPOINT_HANG_SECONDS"]) if cell.action == "hang" else 0.0


async def wait_for_hit(stack: ChaosStack, before: int) -> bool:
    """Wait until one more failpoint is hit than before; whether that came in time."""
    end = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < end:
        if len(stack.logs.hits()) > before:
            return True
        await asyncio.sleep(0.1)
    return False


async def run(
    folder: Path, seed: str, wanted: Sequence[Cell], stacks: int = STACKS, server: Postgres | None = None
) -> None:
    """Run the cells in several stacks side by side; on PostgreSQL each has two generation processes."""
    waiting = iter(enumerate(wanted))

    async def work(index: int) -> None:
        settings = SETTINGS | {"DATABASE_URL": server.create_database() if server else ""}
        async with running(
            folder / str(index), f"{seed}-{index}", settings, KINDS, two_generations=bool(server)
        ) as chaos:
            stack = MatrixRun(chaos)
            for number, cell in waiting:
                await stack.inject(cell, number)

    await asyncio.gather(*map(work, range(stacks)))


def summary(cells: Sequence[Cell]) -> str:
    """The last line of the table."""
    converged, soon = sum(cell.converged for cell in cells), sum(cell.soon for cell in cells)
    slowest = max((cell.seconds or 0.0 for cell in cells), default=0.0)
    return f"{converged} of {len(cells)} cells converge, {soon} within {SOON_SECONDS:.0f} s; slowest {slowest:.1f} s"


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", nargs="*", default=ACTIONS)
    parser.add_argument("--points", nargs="*", default=list(SERVICE_OF))
    parser.add_argument("--seed", default="matrix")
    parser.add_argument("--commits", action="store_true", help="a kill after every commit that orders pass")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL, and two generation processes")
    arguments = parser.parse_args()
    wanted = [cell for cell in cells_of(*arguments.actions) if cell.point in arguments.points]
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kawaii-matrix-")))
        server = exits.enter_context(postgres()) if arguments.postgres else None
        if arguments.commits:
            wanted = asyncio.run(commit_cells(folder / "commits", arguments.seed, server))
        asyncio.run(run(folder, arguments.seed, wanted, POSTGRES_STACKS if server else STACKS, server))
    sys.stdout.write("\n".join([f"seed {arguments.seed}", *map(str, wanted), summary(wanted)]) + "\n")
    return not all(cell.soon for cell in wanted)


if __name__ == "__main__":
    raise SystemExit(main())
