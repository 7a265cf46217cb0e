"""Injects one kind of fault at a time: into engines, disks, clocks, processes, and the provider's behaviour.

Each injection has a stack of its own that takes orders while the fault lasts. Afterwards the stack has to settle, and
the checker looks for broken promises, before and after reconciliation. The table has a line an injection: how often the
fault was injected, and how many promises were broken.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.chaos.event_consumer import EventConsumer
from tests.chaos.faults import (
    CannotInjectError,
    Fault,
    FaultRun,
    account_trouble,
    clock_jumps,
    commits_lose_their_reply,
    database_on_small_disk,
    disk_errors,
    disk_full,
    erasure_during_writes,
    file_host,
    garbage_during_writes,
    no_fault,
    objects_on_small_disk,
    postgres_dies,
    processes_hang,
    redis_freezes,
    rolling_restarts,
    time_passes,
)
from tests.chaos.generations import background, drain
from tests.chaos.order_clients import ClientLog, OrderClients, scripted
from tests.chaos.reconcile import reconciled
from tests.chaos.report import check
from tests.chaos.stack import running
from tests.support.engines import EngineMissingError
from tests.support.postgres import Postgres, postgres

ORDERS_AT_ONCE = 16
WAVE = 8
SETTLE_SECONDS = 180.0  # a ceiling; the longest wait is that of a copy which failed often
CEILING_SECONDS = 240.0  # for a fault to be injected as often as wanted
STUCK_SECONDS = 600.0  # a ceiling that none has come near; then the result says what the harness waits for


USUAL_SCRIPTS = ("ok", "nocallback", "dupcallback:2", "slow:2,ok", "fail,ok", "variants:2,ok", "429http then ok")


@dataclass(frozen=True)
class Injection:
    """A fault, the provider's scripts meanwhile, and how often the fault is to be injected at least."""

    title: str
    fault: Fault
    scripts: Sequence[str] = USUAL_SCRIPTS
    orders: int = 24
    least: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    on_postgres: bool = False
    prepare: Callable[[ExitStack, Path], None] = lambda _stack, _folder: None
    """Changes the data folder before the first process starts, until the stack is closed."""


REAL_LIMITS = {
    "GENERATION_CREATES_PER_WINDOW": "18",
    "SANDBOX_CREATE_LIMIT": "20",
    "GENERATION_SUBMIT_WITHIN_SECONDS": "300",
    "GENERATION_DRY_AFTER_SECONDS": "60",
}
LONG_SUBMIT = {"GENERATION_SUBMIT_WITHIN_SECONDS": "3600"}  # else a clock that is ten minutes ahead expires what is new
INJECTIONS: Sequence[Injection] = (
    Injection("PostgreSQL killed and started again", postgres_dies, least=4, on_postgres=True),
    Injection("replies to COMMIT lost", commits_lose_their_reply, least=10, orders=48, on_postgres=True),
    Injection("disk of the objects full", disk_full("objects"), least=4, prepare=objects_on_small_disk),
    Injection("disk of generation's database full", disk_full("small"), least=4, prepare=database_on_small_disk),
    Injection("EIO at fsync of storage", disk_errors("storage"), least=4, orders=48),
    Injection("EIO at fsync of generation", disk_errors("generation"), least=4, orders=48),
    Injection(
        "clock of generation jumps ten minutes, SQLite", clock_jumps("generation"), least=4, settings=LONG_SUBMIT
    ),
    Injection(
        "clock of generation jumps ten minutes, PostgreSQL", clock_jumps("generation"), least=4, on_postgres=True
    ),
    Injection("clocks of gateway, storage and share jump", clock_jumps("gateway", "storage", "share"), least=4),
    Injection("SIGTERM under load", rolling_restarts, least=8, orders=48),
    Injection("processes hang for three leases", processes_hang, least=4),
    Injection("Redis frozen", redis_freezes),
    Injection("garbage collected during writes", garbage_during_writes, least=10, orders=48),
    Injection("generations erased during writes", erasure_during_writes, least=8, orders=48),
    Injection(
        "first failed, then made after all",
        no_fault,
        ("fail-then-ok:2", "fail-then-ok:1,nocallback", "failcb-then-ok,ok"),
    ),
    Injection(
        "replies with another id than the webhook", no_fault, ("reply-unknown-id,ok", "ok", "reply-foreign-id,ok")
    ),
    Injection("one id given to two orders", no_fault, ("ok", "reply-earlier-id,ok")),
    Injection(
        "records invisible for longer than ten minutes",
        time_passes(200, 200, 200, 200),
        ("invisible:700,reset-after,ok", "invisible:700,ok"),
    ),
    Injection(
        "an edge answers reads: 408, 500, 501, pages",
        no_fault,
        (
            "read-edge408:3,ok",
            "read-edge500:3,nocallback",
            "read-edge501:3,ok",
            "read-html501:2,ok",
            "read-html408:2,nocallback",
        ),
    ),
    Injection(
        "results denied (403) for longer than five minutes",
        time_passes(100, 100, 100, 100, before={"files": "denied"}, after={"files": "up"}),
    ),
    Injection("file host of the provider away", file_host("away"), least=4),
    Injection("a key revoked (401) in mid-run", account_trouble({"state": "revoked"}, {"state": "ok"}), least=4),
    Injection(
        "an account without credit (402) in mid-run", account_trouble({"credits": 0}, {"credits": 10_000_000}), least=4
    ),
    Injection("the provider's real limits", no_fault, USUAL_SCRIPTS, orders=120, settings=REAL_LIMITS),
)


@dataclass(frozen=True)
class Result:
    """A line of the table; `broken` has a sentence for each broken promise, `skipped` says why nothing was injected."""

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
        line = f"{head}{self.orders:>4} orders  {self.hits:>4} times  {self.seconds:>4.0f} s  broken {len(self.broken)}"
        return "\n".join([f"{line}  {self.ends}", *(f"    {sentence}" for sentence in self.broken)])


async def inject(injection: Injection, seed: str, folder: Path, orders: int = 0) -> Result:
    """Run one injection in a folder of its own; a fault that this machine cannot inject is skipped."""
    try:
        async with AsyncExitStack() as exits:
            server = exits.enter_context(postgres()) if injection.on_postgres else None
            return await _bounded(injection, _injected(injection, seed, folder, orders or injection.orders, server))
    except (CannotInjectError, EngineMissingError) as reason:
        return Result(injection, skipped=str(reason))


async def _bounded(injection: Injection, run: Coroutine[None, None, Result]) -> Result:
    """The result; after STUCK_SECONDS one that says where each task of the harness waits."""
    task = asyncio.create_task(run)
    done, _ = await asyncio.wait({task}, timeout=STUCK_SECONDS)
    if done:
        return task.result()
    stuck = sorted(f"the harness waits: {where(each)}" for each in asyncio.all_tasks() - {asyncio.current_task()})
    task.cancel()
    await asyncio.wait({task}, timeout=SETTLE_SECONDS)
    return Result(injection, broken=stuck)


def where(task: asyncio.Task[object]) -> str:
    """The coroutines that a task is in, outermost first, with their lines."""
    calls, waiting = [], task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)) is not None:
        calls.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return " > ".join(calls)


async def _injected(injection: Injection, seed: str, folder: Path, orders: int, server: Postgres | None) -> Result:
    began = time.monotonic()
    url = server.create_database() if server else ""
    settings = {"DATABASE_URL": url, "RATE_LIMITS_ENABLED": "0", **injection.settings}
    async with AsyncExitStack() as exits:
        outer = exits.enter_context(ExitStack())
        prepare = partial(injection.prepare, outer, folder)
        stack = await exits.enter_async_context(running(folder, seed, settings, prepare=prepare))
        run, log, consumer = FaultRun(stack, folder, server), ClientLog(), EventConsumer(stack.generation)
        clients = OrderClients(stack, log, consumer, ORDERS_AT_ONCE)
        exits.push_async_callback(clients.close)
        background(exits, consumer.run())
        await _order(run, injection, clients, seed, orders)
        drained = await drain(stack, SETTLE_SECONDS)
        report = await check(stack, log, consumer)
        after = await reconciled(stack, log, drain)
        found = [f"{what}: {each}" for what, broken in (report.broken | after.broken).items() for each in broken]
        found += run.unexpected + ([] if drained is not None else ["the stack did not settle"])
        found += (
            [] if run.hits >= injection.least else [f"the fault was injected {run.hits} times, not {injection.least}"]
        )
        rows = dict(report.rows)
        ends = f"SUCCEEDED {rows['SUCCEEDED']}, UNKNOWN {rows['UNKNOWN']}, settled in {drained or 0:.0f} s"
        return Result(injection, len(log.orders), run.hits, ends, time.monotonic() - began, found)


async def _order(run: FaultRun, injection: Injection, clients: OrderClients, seed: str, orders: int) -> None:
    """Order while the fault lasts: at least `orders` times, and until it was injected often enough."""
    end, number = time.monotonic() + CEILING_SECONDS, 0
    async with injection.fault(run):
        while number < orders or (run.hits < injection.least and time.monotonic() < end):
            wave = [
                scripted(seed, n, injection.scripts[n % len(injection.scripts)]) for n in range(number, number + WAVE)
            ]
            await asyncio.gather(*map(clients.order_until_answered, wave))
            number += WAVE


def result_of(injection: Injection, seed: str, folder: Path, orders: int) -> Result:
    """The result of one injection; a failure of the harness itself counts as broken, and the next one is run."""
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
    arguments = parser.parse_args()
    seed, broken = arguments.seed or secrets.token_hex(4), 0
    sys.stdout.write(f"seed {seed}\n")
    chosen = [each for each in INJECTIONS if not arguments.only or any(word in each.title for word in arguments.only)]
    for number, injection in enumerate(chosen):
        with tempfile.TemporaryDirectory(prefix="kawaii-inject-") as name:
            folder = (arguments.data or Path(name)) / f"{number:02}"
            result = result_of(injection, f"{seed}-{number}", folder, arguments.orders)
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        broken += len(result.broken)
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
