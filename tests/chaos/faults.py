"""The faults of `injections`: each is a context in which one kind of fault is injected."""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc
from sqlalchemy import ColumnElement, func, select, update

from services.chassis.database import Transaction, db_now, open_database
from services.generation.model import FINAL, UNDECIDED, State
from services.generation.stores import tables
from tests.chaos.evidence import AGENT, rows_of
from tests.chaos.process import OFFSETS, no_faults
from tests.chaos.proxy import CommitProxy
from tests.chaos.stack import LEASE_SECONDS, ChaosStack, random_of
from tests.support.postgres import Postgres
from tests.support.sql import fetch_value

STOP_SECONDS = 150.0  # SIGTERM to exit: a submit may take 120 s
FROZEN_SECONDS = 3 * LEASE_SECONDS
SERVICES = ("gateway", "generation", "storage", "share")
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
WRONG_BY_SECONDS = 600
CALL_SECONDS = 30.0
POLLED_SECONDS = 120.0  # a ceiling for some hundred orders on a busy machine
SCRIPTED = "sim:"  # in the draft of an order that was not forgotten
AGING = frozenset({"due_ms", "lease_until_ms", "create_ms", "ready_ms", "submit_ms", "store_ms", "update_ms"})
DISK_BYTES = 16 << 20
EIO = "inject=fsync,fdatasync:error=EIO:when=3+7"  # strace(1): from the third call on, each seventh


class CannotInjectError(Exception):
    """This machine cannot inject the fault; the message says why, and is shown instead of a result."""


@dataclass
class FaultRun:
    """A stack under a fault: how often it was injected so far, and what happened that must not happen."""

    stack: ChaosStack
    folder: Path
    server: Postgres | None = None
    hits: int = 0
    unexpected: list[str] = field(default_factory=list)


Fault = Callable[[FaultRun], AbstractAsyncContextManager[None]]
"""The fault lasts inside of the context; it counts itself in `hits`, and leaves the stack as it was before."""


@asynccontextmanager
async def no_fault(run: FaultRun) -> AsyncIterator[None]:
    """Injects nothing: the fault lies in the provider's scripts."""
    run.hits = 1
    yield


@asynccontextmanager
async def repeated(
    inject: Callable[[random.Random], Any], run: FaultRun, seconds: tuple[float, float]
) -> AsyncIterator[None]:
    """Call `inject` again and again, with pauses of a random length between two bounds."""
    rng = random_of(run.stack.seed, "fault")

    async def repeat() -> None:
        while True:
            await asyncio.sleep(rng.uniform(*seconds))
            await inject(rng)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        failed = task.done() and task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if failed:
            run.unexpected.append(f"the fault itself failed: {failed!r}")


# --- Engines --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def postgres_dies(run: FaultRun) -> AsyncIterator[None]:
    """PostgreSQL is killed with SIGKILL, and starts again seconds later."""
    server = run.server
    assert server is not None

    async def inject(rng: random.Random) -> None:
        await asyncio.to_thread(server.crash)
        run.hits += 1
        await asyncio.sleep(rng.uniform(0.2, 4.0))
        await asyncio.to_thread(server.start)

    async with repeated(inject, run, (1.0, 3.0)):
        yield
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def commits_lose_their_reply(run: FaultRun) -> AsyncIterator[None]:
    """PostgreSQL commits, and the reply to COMMIT never reaches its client."""
    server, stack = run.server, run.stack
    assert server is not None
    async with CommitProxy(server.port, stack.seed).open() as proxy:
        url = stack.environment["DATABASE_URL"].replace(f":{server.port}/", f":{proxy.port}/")
        stack.faults = lambda name, _life: {"DATABASE_URL": url} if name in OFFSETS else {}
        await stack.restart(*SERVICES)
        proxy.share = 0.1
        counted = asyncio.create_task(count(run, proxy))
        try:
            yield
        finally:
            counted.cancel()
            proxy.share, run.hits = 0.0, proxy.lost
            stack.faults = no_faults
            await stack.restart(*SERVICES)


async def count(run: FaultRun, proxy: CommitProxy) -> None:
    """Keep the number of lost replies up to date."""
    while True:
        await asyncio.sleep(0.1)
        run.hits = proxy.lost


@asynccontextmanager
async def redis_freezes(run: FaultRun) -> AsyncIterator[None]:
    """Valkey accepts connections and answers nothing."""
    valkey = run.stack.processes["valkey"]
    valkey.stop()
    run.hits = 1
    try:
        yield
    finally:
        valkey.resume()


# --- Processes ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def processes_hang(run: FaultRun) -> AsyncIterator[None]:
    """One process after the other is stopped for three leases, by SIGSTOP and SIGCONT."""

    async def inject(rng: random.Random) -> None:
        await run.stack.processes[rng.choice(SERVICES)].freeze(FROZEN_SECONDS)
        run.hits += 1

    async with repeated(inject, run, (0.2, 1.0)):
        yield


@asynccontextmanager
async def rolling_restarts(run: FaultRun) -> AsyncIterator[None]:
    """Processes get SIGTERM, as in a deployment; each has to end by itself within STOP_SECONDS."""

    async def inject(rng: random.Random) -> None:
        name = rng.choice(SERVICES)
        process = run.stack.processes[name]
        starts = process.starts
        if not process.terminate():
            return
        run.hits += 1
        try:
            await process.wait_for_restart(starts, STOP_SECONDS)
        except TimeoutError:
            run.unexpected.append(f"{name} did not end within {STOP_SECONDS:.0f} s of SIGTERM")
        run.unexpected += [f"{name} ended with {code}" for code in process.codes[-1:] if code not in {0, -15}]

    async with repeated(inject, run, (0.5, 2.0)):
        yield


# --- Disks ----------------------------------------------------------------------------------------------------------


def objects_on_small_disk(exits: ExitStack, folder: Path) -> None:
    """Put the objects on a small file system of their own."""
    exits.enter_context(mounted(folder / "objects"))


def database_on_small_disk(exits: ExitStack, folder: Path) -> None:
    """Put generation's database on a small file system; SQLite follows the link, and keeps its log beside the file."""
    small = exits.enter_context(mounted(folder / "small"))
    for path in folder.glob("generation.sqlite3*"):
        (small / path.name).write_bytes(path.read_bytes())
        path.unlink()
    (folder / "generation.sqlite3").symlink_to(small / "generation.sqlite3")


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A small tmpfs, mounted at a folder."""
    if os.geteuid() != 0:
        raise CannotInjectError("only root may mount a small disk")
    folder.mkdir(exist_ok=True)
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise CannotInjectError("this machine does not let root mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def disk_full(part: str) -> Fault:
    """The file system at a part of the data folder is full for up to two seconds, again and again."""

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        ballast = run.folder / part / "ballast"

        async def inject(rng: random.Random) -> None:
            await asyncio.to_thread(fill, ballast)
            run.hits += 1
            await asyncio.sleep(rng.uniform(0.5, 2.0))
            ballast.unlink()

        async with repeated(inject, run, (0.5, 1.5)):
            yield
        ballast.unlink(missing_ok=True)

    return fault


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass


def disk_errors(name: str) -> Fault:
    """Every seventh fsync of a process fails with EIO, while strace is attached to it."""

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        if not shutil.which("strace"):
            raise CannotInjectError("strace is missing, which makes system calls fail")

        async def inject(_rng: random.Random) -> None:
            process = run.stack.processes[name].process
            if process is None or not process.pid:
                return
            log = run.folder / "strace.log"
            command = ("strace", "-f", "-qq", "-o", str(log), "-p", str(process.pid), "-e", "trace=fsync,fdatasync")
            tracer = await asyncio.create_subprocess_exec(*command, "-e", EIO, stderr=asyncio.subprocess.DEVNULL)
            try:
                await asyncio.sleep(3.0)
            finally:
                with suppress(ProcessLookupError):
                    tracer.terminate()
                await tracer.wait()
                run.hits += log.read_text().count("EIO") if log.exists() else 0

        async with repeated(inject, run, (0.1, 0.5)):
            yield

    return fault


# --- Clocks ---------------------------------------------------------------------------------------------------------


def clock_jumps(*names: str) -> Fault:
    """The clocks of some processes jump ten minutes ahead, ten back, and to the right time; monotonic clocks go on.

    What was written by a clock that was ahead is due that much later in SQLite; in the end rows are aged by that much.
    """

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        offset_file = run.folder / "clock"
        set_offset(offset_file, 0)
        environment = clock_environment(offset_file)
        run.stack.faults = lambda name, _life: environment if name in names else {}
        await run.stack.restart(*names)

        async def inject(rng: random.Random) -> None:
            set_offset(offset_file, rng.choice((WRONG_BY_SECONDS, -WRONG_BY_SECONDS, 0)))
            run.hits += 1

        async with repeated(inject, run, (1.5, 4.0)):
            yield
        set_offset(offset_file, 0)
        run.stack.faults = no_faults
        await run.stack.restart(*names)
        if "generation" in names and run.server is None:  # SQLite's clock is its process's
            await age(run, 2 * WRONG_BY_SECONDS)

    return fault


def clock_environment(offset_file: Path) -> Mapping[str, str]:
    """The environment of a process whose wall clock is wrong by the seconds in a file."""
    library = next(iter(sorted(map(str, Path("/").glob(FAKETIME[1:])))), "")
    if not library:
        raise CannotInjectError("libfaketime is missing, which changes clocks")
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset_file),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; else reading the clock slows a process tenfold
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads that wait with a timeout, as all of Python's do, spin
    }


def set_offset(offset_file: Path, seconds: int) -> None:
    """Set by how much the clocks are wrong, from at most a second later on.

    The file is replaced in one step, since processes read it at any moment.
    """
    fresh = offset_file.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.replace(offset_file)


# --- Operators ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def erasure_during_writes(run: FaultRun) -> AsyncIterator[None]:
    """Generations that have ended are erased while others are made."""
    async with aio.insecure_channel(run.stack.generation) as channel:
        stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(channel)

        async def inject(rng: random.Random) -> None:
            (rows,) = await rows_of(run.stack, "generation", tables.generation)
            ended = [row.id for row in rows if row.state in FINAL and SCRIPTED in row.draft]
            for identifier in rng.sample(ended, min(2, len(ended))):
                request = generationpb.ForgetGenerationRequest(name=f"generations/{identifier}")
                await stub.ForgetGeneration(request, timeout=CALL_SECONDS)
                run.hits += 1

        async with repeated(inject, run, (0.2, 0.6)):
            yield


@asynccontextmanager
async def garbage_during_writes(run: FaultRun) -> AsyncIterator[None]:
    """Garbage is collected all the time, by a clock so far ahead that objects which are just being written look old."""
    offset_file, stack = run.folder / "clock", run.stack
    set_offset(offset_file, 3 * 3600)
    environment = clock_environment(offset_file)
    stack.faults = lambda name, _life: environment if name == "storage" else {}
    await stack.restart("storage")
    async with aio.insecure_channel(f"127.0.0.1:{stack.base + OFFSETS['storage']}") as channel:
        stub: storageadminrpc.StorageAdminServiceAsyncStub = storageadminrpc.StorageAdminServiceStub(channel)

        async def inject(_rng: random.Random) -> None:
            request = storageadminpb.CollectGarbageRequest(delete=True)
            request.min_age.FromSeconds(3600)
            async for _ in stub.CollectGarbage(request, timeout=CALL_SECONDS):
                pass
            run.hits += 1

        async with repeated(inject, run, (0.05, 0.3)):
            yield
    stack.faults = no_faults
    await stack.restart("storage")


# --- The provider ---------------------------------------------------------------------------------------------------


async def control(run: FaultRun, path: str, body: Mapping[str, object]) -> None:
    """Change the provider's behaviour by a request to the sandbox's control routes."""
    async with httpx.AsyncClient(base_url=run.stack.sandbox, timeout=30, headers=AGENT, trust_env=False) as http:
        (await http.post(path, json=dict(body))).raise_for_status()


def account_trouble(trouble: Mapping[str, object], restored: Mapping[str, object]) -> Fault:
    """One account of five is in `trouble` for seconds, again and again."""

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        async def inject(rng: random.Random) -> None:
            await control(run, "/sandbox/accounts/sandbox-b", trouble)
            run.hits += 1
            await asyncio.sleep(rng.uniform(1.0, 3.0))
            await control(run, "/sandbox/accounts/sandbox-b", restored)

        async with repeated(inject, run, (0.3, 1.0)):
            yield
        await control(run, "/sandbox/accounts/sandbox-b", restored)

    return fault


def file_host(how: str) -> Fault:
    """The provider's file host is `away`, or answers `denied`, for seconds at a time."""

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        async def inject(rng: random.Random) -> None:
            await control(run, "/sandbox/switches", {"files": how})
            run.hits += 1
            await asyncio.sleep(rng.uniform(1.0, 3.0))
            await control(run, "/sandbox/switches", {"files": "up"})

        async with repeated(inject, run, (0.3, 1.0)):
            yield
        await control(run, "/sandbox/switches", {"files": "up"})

    return fault


def time_passes(
    *steps: int, before: Mapping[str, object] | None = None, after: Mapping[str, object] | None = None
) -> Fault:
    """Minutes pass between the orders and their ends: times in generation's rows and the provider's clock are moved."""

    @asynccontextmanager
    async def fault(run: FaultRun) -> AsyncIterator[None]:
        if before:
            await control(run, "/sandbox/switches", before)
        run.hits += 1
        yield
        await until_none(run, tables.generation.c.state.in_(UNDECIDED))  # an order sent later would be younger
        for seconds in steps:
            await asyncio.sleep(2.0)  # for work that has begun
            await age(run, seconds)
            await control(run, "/sandbox/clock", {"advance_seconds": seconds})
            run.hits += 1
        await until_polled(run)
        if after:
            await control(run, "/sandbox/switches", after)

    return fault


async def age(run: FaultRun, seconds: int) -> None:
    """Move the times of generations that have not ended into the past, as if so many seconds had passed."""
    async with open_database(run.stack.settings, "generation") as database:
        await database.write(_age, seconds)


def _age(transaction: Transaction, seconds: int) -> None:
    worked_on = tables.generation.c.state.not_in(FINAL - {State.UNKNOWN})
    for table, open_ in ((tables.generation, worked_on), (tables.inbox, None)):
        past = {column: column - seconds * 1000 for column in table.c if column.name in AGING}
        statement = table.update().values({column.name: value for column, value in past.items()})
        transaction.execute(statement if open_ is None else statement.where(open_))
    gone = tables.output.c.gone_ms
    transaction.execute(update(tables.output).where(gone > 0).values(gone_ms=gone - seconds * 1000))


async def until_polled(run: FaultRun) -> None:
    """Wait until no record is due to be polled; UNKNOWN is polled too, although `drain` counts it as an end."""
    polled = tables.generation.c.state.in_((State.RUNNING, State.UNKNOWN))
    await until_none(run, polled, tables.generation.c.task_id != "", tables.generation.c.due_ms <= db_now())


async def until_none(run: FaultRun, *conditions: ColumnElement[bool]) -> None:
    """Wait until no generation meets the conditions. Raises TimeoutError."""
    left = select(func.count()).select_from(tables.generation).where(*conditions)
    async with open_database(run.stack.settings, "generation") as database, asyncio.timeout(POLLED_SECONDS):
        while True:
            if not await fetch_value(database, left):
                return
            await asyncio.sleep(0.1)
