"""The faults of `injections`: each a context in which one thing goes wrong."""

import asyncio
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.storage.v1 import admin_pb2 as adminpb
from kawaii.storage.v1 import admin_pb2_grpc as adminrpc
from sqlalchemy import ColumnElement, func, select, update

from services.chassis.database import db_now, open_database
from services.generation.model import FINAL, UNDECIDED, State
from services.generation.stores import tables
from tests.chaos.facts import AGENT, rows_of
from tests.chaos.lost_commits import CommitProxy
from tests.chaos.process import OFFSETS, calm
from tests.chaos.stack import LEASE_SECONDS, dice_of
from tests.chaos.stage import GOOD_DAYS, Fault, Injection, NotHereError, Stage, is_root

STOP_SECONDS = 150.0  # SIGTERM to exit: a submit may take 120 s
FROZEN_SECONDS = 3 * LEASE_SECONDS
SERVICES = ("gateway", "generation", "storage", "share")
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
MINUTES = 600  # that a clock is wrong by, in seconds
CALL_SECONDS = 30.0
LOOKED_SECONDS = 120.0  # a ceiling for some hundred orders on a busy machine
SCRIPTED = "sim:"  # in the draft of an order that was not forgotten
AGING = frozenset({"due_ms", "lease_until_ms", "create_ms", "ready_ms", "submit_ms", "store_ms", "update_ms"})
DISK_BYTES = 16 << 20
EIO = "inject=fsync,fdatasync:error=EIO:when=3+7"  # strace(1): from the third call on, each seventh


@asynccontextmanager
async def nothing(stage: Stage) -> AsyncIterator[None]:
    """All that goes wrong lies in the provider's days."""
    stage.hits = 1
    yield


@asynccontextmanager
async def repeated(
    act: Callable[[random.Random], Any], stage: Stage, seconds: tuple[float, float]
) -> AsyncIterator[None]:
    """Do something again and again, with pauses between two bounds."""
    dice = dice_of(stage.stack.seed, "fault")

    async def run() -> None:
        while True:
            await asyncio.sleep(dice.uniform(*seconds))
            await act(dice)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        failed = task.done() and task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if failed:
            stage.odd.append(f"the fault itself failed: {failed!r}")


# --- Engines --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def postgres_dies(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL is killed as by a power cut, and starts again a moment later."""
    server = stage.server
    assert server is not None

    async def act(dice: random.Random) -> None:
        await asyncio.to_thread(server.crash)
        stage.hits += 1
        await asyncio.sleep(dice.uniform(0.2, 4.0))
        await asyncio.to_thread(server.start)

    async with repeated(act, stage, (1.0, 3.0)):
        yield
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def commits_lose_their_reply(stage: Stage) -> AsyncIterator[None]:
    """A commit reaches PostgreSQL, its reply reaches nobody."""
    server, stack = stage.server, stage.stack
    assert server is not None
    async with CommitProxy(server.port, stack.seed).open() as proxy:
        url = stack.environment["DATABASE_URL"].replace(f":{server.port}/", f":{proxy.port}/")
        stack.faults = lambda name, _life: {"DATABASE_URL": url} if name in OFFSETS else {}
        await stack.restart(*SERVICES)
        proxy.share = 0.1
        counted = asyncio.create_task(count(stage, proxy))
        try:
            yield
        finally:
            counted.cancel()
            proxy.share, stage.hits = 0.0, proxy.lost
            stack.faults = calm
            await stack.restart(*SERVICES)


async def count(stage: Stage, proxy: CommitProxy) -> None:
    """Tell how many replies were lost so far."""
    while True:
        await asyncio.sleep(0.1)
        stage.hits = proxy.lost


@asynccontextmanager
async def redis_freezes(stage: Stage) -> AsyncIterator[None]:
    """Valkey accepts connections and answers nothing."""
    valkey = stage.stack.processes["valkey"]
    valkey.stop()
    stage.hits = 1
    try:
        yield
    finally:
        valkey.resume()


# --- Processes ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def processes_hang(stage: Stage) -> AsyncIterator[None]:
    """Each process in turn stands still for three leases."""

    async def act(dice: random.Random) -> None:
        await stage.stack.processes[dice.choice(SERVICES)].freeze(FROZEN_SECONDS)
        stage.hits += 1

    async with repeated(act, stage, (0.2, 1.0)):
        yield


@asynccontextmanager
async def deployments(stage: Stage) -> AsyncIterator[None]:
    """Processes are asked to end, as by whoever deploys a new version; each ends within its time by itself."""

    async def act(dice: random.Random) -> None:
        name = dice.choice(SERVICES)
        process = stage.stack.processes[name]
        life = process.lives
        if not process.terminate():
            return
        stage.hits += 1
        try:
            await process.reborn(life, STOP_SECONDS)
        except TimeoutError:
            stage.odd.append(f"{name} did not end within {STOP_SECONDS:.0f} s of SIGTERM")
        stage.odd += [f"{name} ended with {code}" for code in process.codes[-1:] if code not in {0, -15}]

    async with repeated(act, stage, (0.5, 2.0)):
        yield


# --- Disks ----------------------------------------------------------------------------------------------------------


def objects_on_small_disk(exits: ExitStack, folder: Path) -> None:
    """Give the objects a file system of their own."""
    exits.enter_context(mounted(folder / "objects"))


def database_on_small_disk(exits: ExitStack, folder: Path) -> None:
    """Give generation's database a file system of its own; SQLite follows the link, its log lies beside the file."""
    small = exits.enter_context(mounted(folder / "small"))
    for path in folder.glob("generation.sqlite3*"):
        (small / path.name).write_bytes(path.read_bytes())
        path.unlink()
    (folder / "generation.sqlite3").symlink_to(small / "generation.sqlite3")


@contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A small file system in memory at a place."""
    if not is_root():
        raise NotHereError("only root may mount a small disk")
    place.mkdir(exist_ok=True)
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place))
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise NotHereError("this machine does not let a disk be mounted")
    try:
        yield place
    finally:
        subprocess.run(("umount", "-l", str(place)), check=True)


def disk_full(part: str) -> Fault:
    """The file system at a part of the data folder is full for a while, again and again."""

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        ballast = stage.folder / part / "ballast"

        async def act(dice: random.Random) -> None:
            await asyncio.to_thread(fill, ballast)
            stage.hits += 1
            await asyncio.sleep(dice.uniform(0.5, 2.0))
            ballast.unlink()

        async with repeated(act, stage, (0.5, 1.5)):
            yield
        ballast.unlink(missing_ok=True)

    return fault


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass


def disk_errors(name: str) -> Fault:
    """Every seventh fsync of a process fails with EIO, in each of its lives that is traced."""

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        if not shutil.which("strace"):
            raise NotHereError("strace is missing, which makes system calls fail")

        async def act(_dice: random.Random) -> None:
            process = stage.stack.processes[name].process
            if process is None or not process.pid:
                return
            log = stage.folder / "strace.log"
            command = ("strace", "-f", "-qq", "-o", str(log), "-p", str(process.pid), "-e", "trace=fsync,fdatasync")
            tracer = await asyncio.create_subprocess_exec(*command, "-e", EIO, stderr=asyncio.subprocess.DEVNULL)
            try:
                await asyncio.sleep(3.0)
            finally:
                with suppress(ProcessLookupError):
                    tracer.terminate()
                await tracer.wait()
                stage.hits += log.read_text().count("EIO") if log.exists() else 0

        async with repeated(act, stage, (0.1, 0.5)):
            yield

    return fault


# --- Clocks ---------------------------------------------------------------------------------------------------------


def clock_jumps(*names: str) -> Fault:
    """The clocks of some processes jump ten minutes ahead, ten back, and home; their monotonic clocks go on.

    A row that was written ten minutes ahead is due that much later once the clock is home: this wait is cut short.
    """

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        dial = stage.folder / "clock"
        turn(dial, 0)
        wrong = following(dial)
        stage.stack.faults = lambda name, _life: wrong if name in names else {}
        await stage.stack.restart(*names)

        async def act(dice: random.Random) -> None:
            turn(dial, dice.choice((MINUTES, -MINUTES, 0)))
            stage.hits += 1

        async with repeated(act, stage, (1.5, 4.0)):
            yield
        turn(dial, 0)
        stage.stack.faults = calm
        await stage.stack.restart(*names)
        if "generation" in names and stage.server is None:  # SQLite's clock is its process's
            await age(stage, 2 * MINUTES)

    return fault


def following(dial: Path) -> Mapping[str, str]:
    """The environment of a process whose clock follows a dial, but for its monotonic clock."""
    library = next(iter(sorted(map(str, Path("/").glob(FAKETIME[1:])))), "")
    if not library:
        raise NotHereError("libfaketime is missing, which turns clocks")
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(dial),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; a dial read at each look at the clock slows a process tenfold
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads that wait with a timeout, as all of Python's do, spin
    }


def turn(dial: Path, seconds: int) -> None:
    """Set by how much the clocks that follow a dial are wrong, a second later at most.

    In one step, since they read it at any moment.
    """
    fresh = dial.with_suffix(".new")
    fresh.write_text(f"{seconds:+d}")
    fresh.replace(dial)


# --- Operators ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def erasure_during_writes(stage: Stage) -> AsyncIterator[None]:
    """Whoever has ended is forgotten while others are made."""
    async with aio.insecure_channel(stage.stack.generation) as channel:
        stub: generationrpc.GenerationServiceAsyncStub = generationrpc.GenerationServiceStub(channel)

        async def act(dice: random.Random) -> None:
            (rows,) = await rows_of(stage.stack, "generation", tables.generation)
            ended = [row.id for row in rows if row.state in FINAL and SCRIPTED in row.draft]
            for identifier in dice.sample(ended, min(2, len(ended))):
                request = generationpb.ForgetGenerationRequest(name=f"generations/{identifier}")
                await stub.ForgetGeneration(request, timeout=CALL_SECONDS)
                stage.hits += 1

        async with repeated(act, stage, (0.2, 0.6)):
            yield


@asynccontextmanager
async def garbage_during_writes(stage: Stage) -> AsyncIterator[None]:
    """The collector of garbage runs all the time, by a clock at which whatever is on its way in looks old."""
    dial, stack = stage.folder / "clock", stage.stack
    turn(dial, 3 * 3600)
    wrong = following(dial)
    stack.faults = lambda name, _life: wrong if name == "storage" else {}
    await stack.restart("storage")
    async with aio.insecure_channel(f"127.0.0.1:{stack.base + OFFSETS['storage']}") as channel:
        stub: adminrpc.StorageAdminServiceAsyncStub = adminrpc.StorageAdminServiceStub(channel)

        async def act(_dice: random.Random) -> None:
            request = adminpb.CollectGarbageRequest(delete=True)
            request.min_age.FromSeconds(3600)
            async for _ in stub.CollectGarbage(request, timeout=CALL_SECONDS):
                pass
            stage.hits += 1

        async with repeated(act, stage, (0.05, 0.3)):
            yield
    stack.faults = calm
    await stack.restart("storage")


# --- The provider ---------------------------------------------------------------------------------------------------


async def control(stage: Stage, path: str, body: Mapping[str, object]) -> None:
    """Tell the provider how to behave."""
    async with httpx.AsyncClient(base_url=stage.stack.sandbox, timeout=30, headers=AGENT, trust_env=False) as http:
        (await http.post(path, json=dict(body))).raise_for_status()


def account_trouble(trouble: Mapping[str, object], healed: Mapping[str, object]) -> Fault:
    """One account of five is in trouble again and again, in the middle of the run."""

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        async def act(dice: random.Random) -> None:
            await control(stage, "/sandbox/accounts/sandbox-b", trouble)
            stage.hits += 1
            await asyncio.sleep(dice.uniform(1.0, 3.0))
            await control(stage, "/sandbox/accounts/sandbox-b", healed)

        async with repeated(act, stage, (0.3, 1.0)):
            yield
        await control(stage, "/sandbox/accounts/sandbox-b", healed)

    return fault


def file_host(how: str) -> Fault:
    """The host of results is away, or denies, for seconds at a time."""

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        async def act(dice: random.Random) -> None:
            await control(stage, "/sandbox/switches", {"files": how})
            stage.hits += 1
            await asyncio.sleep(dice.uniform(1.0, 3.0))
            await control(stage, "/sandbox/switches", {"files": "up"})

        async with repeated(act, stage, (0.3, 1.0)):
            yield
        await control(stage, "/sandbox/switches", {"files": "up"})

    return fault


def time_passes(
    *steps: int, before: Mapping[str, object] | None = None, after: Mapping[str, object] | None = None
) -> Fault:
    """Hours or minutes pass between the orders and their end: every time in generation's rows moves into the past."""

    @asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        if before:
            await control(stage, "/sandbox/switches", before)
        stage.hits += 1
        yield
        await until_none(stage, tables.generation.c.state.in_(UNDECIDED))  # an order sent later would be younger
        for seconds in steps:
            await asyncio.sleep(2.0)  # for whoever is at work
            await age(stage, seconds)
            await control(stage, "/sandbox/clock", {"advance_seconds": seconds})
            stage.hits += 1
        await looked_at(stage)
        if after:
            await control(stage, "/sandbox/switches", after)

    return fault


async def age(stage: Stage, seconds: int) -> None:
    """Move the times of what is still worked on into the past, as if so many seconds had passed."""
    async with open_database(stage.stack.settings, "generation") as database, database.write() as connection:
        worked_on = tables.generation.c.state.not_in(FINAL - {State.UNKNOWN})
        for table, open_ in ((tables.generation, worked_on), (tables.inbox, None)):
            past = {column: column - seconds * 1000 for column in table.c if column.name in AGING}
            statement = table.update().values({column.name: value for column, value in past.items()})
            await connection.execute(statement if open_ is None else statement.where(open_))
        gone = tables.output.c.gone_ms
        await connection.execute(update(tables.output).where(gone > 0).values(gone_ms=gone - seconds * 1000))


async def looked_at(stage: Stage) -> None:
    """Wait until no record is due: UNKNOWN counts as an end for whoever drains, and is still reconciled."""
    polled = tables.generation.c.state.in_((State.RUNNING, State.UNKNOWN))
    await until_none(stage, polled, tables.generation.c.task_id != "", tables.generation.c.due_ms <= db_now())


async def until_none(stage: Stage, *conditions: ColumnElement[bool]) -> None:
    """Wait until no generation is so any more. Raises TimeoutError."""
    left = select(func.count()).select_from(tables.generation).where(*conditions)
    async with open_database(stage.stack.settings, "generation") as database, asyncio.timeout(LOOKED_SECONDS):
        while True:
            async with database.read() as connection:
                if not await connection.scalar(left):
                    return
            await asyncio.sleep(0.1)


BUCKETS = {
    "GENERATION_CREATES_PER_WINDOW": "18",
    "SANDBOX_CREATE_LIMIT": "20",
    "GENERATION_SUBMIT_WITHIN_SECONDS": "300",
    "GENERATION_DRY_AFTER_SECONDS": "60",
}
PATIENT = {"GENERATION_SUBMIT_WITHIN_SECONDS": "3600"}  # else a clock that is ten minutes ahead expires what is new
INJECTIONS: Sequence[Injection] = (
    Injection("PostgreSQL killed and started again", postgres_dies, least=4, on_postgres=True),
    Injection("replies to COMMIT lost", commits_lose_their_reply, least=10, orders=48, on_postgres=True),
    Injection("disk of the objects full", disk_full("objects"), least=4, prepare=objects_on_small_disk),
    Injection("disk of generation's database full", disk_full("small"), least=4, prepare=database_on_small_disk),
    Injection("EIO at fsync of storage", disk_errors("storage"), least=4, orders=48),
    Injection("EIO at fsync of generation", disk_errors("generation"), least=4, orders=48),
    Injection("clock of generation jumps ten minutes, SQLite", clock_jumps("generation"), least=4, settings=PATIENT),
    Injection(
        "clock of generation jumps ten minutes, PostgreSQL", clock_jumps("generation"), least=4, on_postgres=True
    ),
    Injection("clocks of gateway, storage and share jump", clock_jumps("gateway", "storage", "share"), least=4),
    Injection("SIGTERM under load", deployments, least=8, orders=48),
    Injection("processes hang for three leases", processes_hang, least=4),
    Injection("Redis frozen", redis_freezes),
    Injection("garbage collected during writes", garbage_during_writes, least=10, orders=48),
    Injection("generations forgotten during writes", erasure_during_writes, least=8, orders=48),
    Injection(
        "first failed, then made after all",
        nothing,
        ("fail-then-ok:2", "fail-then-ok:1,nocallback", "failcb-then-ok,ok"),
    ),
    Injection(
        "replies with another id than the webhook", nothing, ("reply-unknown-id,ok", "ok", "reply-foreign-id,ok")
    ),
    Injection("one id given to two orders", nothing, ("ok", "reply-earlier-id,ok")),
    Injection(
        "records invisible for longer than ten minutes",
        time_passes(200, 200, 200, 200),
        ("invisible:700,reset-after,ok", "invisible:700,ok"),
    ),
    Injection(
        "an edge answers reads: 408, 500, 501, pages",
        nothing,
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
    Injection("the provider's real limits", nothing, GOOD_DAYS, orders=120, settings=BUCKETS),
)
