"""What goes wrong around a stack, one thing at a time: engines, disks, clocks, deployments, the provider's bad habits.

Each injection has a stack of its own that takes orders while the fault lasts. Afterwards the stack has to settle, and
the checker of the storm judges it, reconciliation included. One line of a table an injection: what was injected how
often, and how many promises broke.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos.book import Book
from tests.chaos.faults import INJECTIONS
from tests.chaos.follower import Follower
from tests.chaos.orders import Customers, scripted
from tests.chaos.reconcile import reconciled
from tests.chaos.stack import running
from tests.chaos.stage import Injection, NotHereError, Stage
from tests.chaos.storm import background, drain
from tests.chaos.verdict import judge
from tests.engines import EngineMissingError, Postgres, postgres

ORDERS_AT_ONCE = 16
WAVE = 8
SETTLE_SECONDS = 180.0  # a ceiling; the longest honest wait is that of a copy which failed often
CEILING_SECONDS = 240.0  # of the time in which a fault may take to fall as often as wanted
STUCK_SECONDS = 600.0  # a ceiling that none has come near; then the harness says what it waits for


@dataclass(frozen=True)
class Result:
    """A line of the table. broken holds a sentence for each broken promise; skipped says why nothing was injected."""

    injection: Injection
    orders: int = 0
    hits: int = 0
    ends: str = ""
    seconds: float = 0.0
    broken: Sequence[str] = ()
    skipped: str = ""

    def __str__(self) -> str:
        head = f"{self.injection.title:<64}"
        if self.skipped:
            return f"{head}skipped: {self.skipped}"
        told = f"{head}{self.orders:>4} orders  {self.hits:>4} times  {self.seconds:>4.0f} s  broken {len(self.broken)}"
        return "\n".join([f"{told}  {self.ends}", *(f"    {sentence}" for sentence in self.broken)])


async def inject(injection: Injection, seed: str, folder: Path, orders: int = 0) -> Result:
    """Run one injection in a folder of its own; a fault that this machine cannot inject is skipped."""
    try:
        async with AsyncExitStack() as exits:
            server = exits.enter_context(postgres()) if injection.on_postgres else None
            return await _bounded(injection, _injected(injection, seed, folder, orders or injection.orders, server))
    except (NotHereError, EngineMissingError) as reason:
        return Result(injection, skipped=str(reason))


async def _bounded(injection: Injection, judging: Coroutine[None, None, Result]) -> Result:
    """The result, or one that says where every task of the harness stood when it was stuck."""
    task = asyncio.create_task(judging)
    done, _ = await asyncio.wait({task}, timeout=STUCK_SECONDS)
    if done:
        return task.result()
    stuck = sorted(f"the harness waits: {where(each)}" for each in asyncio.all_tasks() - {asyncio.current_task()})
    task.cancel()
    await asyncio.wait({task}, timeout=SETTLE_SECONDS)
    return Result(injection, broken=stuck)


def where(task: asyncio.Task[object]) -> str:
    """The calls a task is in, outermost first, of each coroutine that waits for the next."""
    places, waiting = [], task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)) is not None:
        places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return " > ".join(places)


async def _injected(injection: Injection, seed: str, folder: Path, orders: int, server: Postgres | None) -> Result:
    began = time.monotonic()
    url = server.create_database() if server else ""
    settings = {"DATABASE_URL": url, "RATE_LIMITS_ENABLED": "0", **injection.settings}
    async with AsyncExitStack() as exits:
        outer = exits.enter_context(ExitStack())
        prepare = partial(injection.prepare, outer, folder)
        stack = await exits.enter_async_context(running(folder, seed, settings, prepare=prepare))
        stage, book, follower = Stage(stack, folder, server), Book(), Follower(stack.generation)
        customers = Customers(stack, book, follower, ORDERS_AT_ONCE)
        exits.push_async_callback(customers.close)
        background(exits, follower.run())
        await _order(stage, injection, customers, seed, orders)
        settled = await drain(stack, SETTLE_SECONDS)
        report = await judge(stack, book, follower)
        after = await reconciled(stack, book, drain)
        found = [f"{what}: {each}" for what, broken in (report.broken | after.broken).items() for each in broken]
        found += stage.odd + ([] if settled is not None else ["the stack did not settle"])
        found += [] if stage.hits >= injection.least else [f"the fault fell {stage.hits} times, not {injection.least}"]
        told = dict(report.rows)
        ends = f"SUCCEEDED {told['SUCCEEDED']}, UNKNOWN {told['UNKNOWN']}, settled in {settled or 0:.0f} s"
        return Result(injection, len(book.orders), stage.hits, ends, time.monotonic() - began, found)


async def _order(stage: Stage, injection: Injection, customers: Customers, seed: str, orders: int) -> None:
    """Place orders while the fault lasts, at least so many, and until the fault fell often enough."""
    end, number = time.monotonic() + CEILING_SECONDS, 0
    async with injection.fault(stage):
        while number < orders or (stage.hits < injection.least and time.monotonic() < end):
            wave = [scripted(seed, n, injection.days[n % len(injection.days)]) for n in range(number, number + WAVE)]
            await asyncio.gather(*map(customers.place, wave))
            number += WAVE


def judged(injection: Injection, seed: str, folder: Path, orders: int) -> Result:
    """The result of one injection; a harness that fails at one proves nothing of it, and goes on with the next."""
    try:
        return asyncio.run(inject(injection, seed, folder, orders))
    except Exception as error:  # noqa: BLE001 - a line of the table says so
        return Result(injection, broken=[f"the harness failed: {error!r}"])


def main() -> int:
    """Run by hand or by make chaos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="words of titles")
    parser.add_argument("--orders", type=int, default=0, help="instead of each injection's own number")
    parser.add_argument("--seed", default="")
    parser.add_argument("--data", type=Path, help="a folder in which everything is left for looking at")
    asked = parser.parse_args()
    seed, broken = asked.seed or secrets.token_hex(4), 0
    sys.stdout.write(f"seed {seed}\n")
    chosen = [each for each in INJECTIONS if not asked.only or any(word in each.title for word in asked.only)]
    for number, injection in enumerate(chosen):
        with tempfile.TemporaryDirectory(prefix="kawaii-inject-") as name:
            folder = (asked.data or Path(name)) / f"{number:02}"
            result = judged(injection, f"{seed}-{number}", folder, asked.orders)
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        broken += len(result.broken)
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
