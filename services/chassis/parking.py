"""Parks poison work: a piece at which a lease loop fails with an unexpected exception, try after try, until released.

Every lease loop (`services/chassis/lease_loop.py`) follows the same rule, by the same four steps:

1. The service has the table of `work_fault_table` among its own, and a migration that creates it.
2. The statement that claims work passes over parked work, `where(not_parked(work_fault, LOOP, work.c.id))`, and returns
   how often each piece has failed, `faults_of(work_fault, LOOP, work.c.id)`.
3. The loop does each claimed piece by `parking.attempt(...)`. The errors that the loop expects (a lost fence, a service
   that is away) are named in `expected` and pass through to the loop; anything else is logged with its trace, counted,
   and comes back as a WorkFault. The loop then makes the piece due again in `fault.pause_seconds`, which grows. At the
   last try `before_parking` brings the piece into a state that its owner sees (it may be called again after a crash),
   and then the piece is parked: no loop claims it any more, whatever its due time says.
4. Operators see parked work by `parking.listed`, a metric and an alert, and `parking.release` has it tried again.

Tries are counted in the database, over restarts and replicas, and forgotten when a try succeeds. Only exceptions count:
a process that is killed, or a database that is away, is no fault of the work.
"""

import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Label,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    delete,
    exists,
    func,
    select,
)

from services.chassis.database import Database, Transaction, db_now, upsert
from services.chassis.errors import Aborted, DeadlineExceeded, NotFound, ResourceExhausted, Unavailable

MAX_FAULTS = 5  # tries; their pauses last seven minutes, longer than a rolling upgrade that mends the fault by itself
FIRST_PAUSE_SECONDS, PAUSE_GROWTH = 5.0, 4.0  # 5, 20, 80 and 320 s between the tries
MAX_FRAMES = 20  # of a trace, the innermost: a recursion has thousands of equal ones
MAX_LISTED = 1000  # parked pieces that an operator is shown at once
TRANSIENT = (Unavailable, DeadlineExceeded, ResourceExhausted, Aborted)  # these pass with time: no fault of the work
ROOT = Path(__file__).parents[2]

FAULTS = Counter("kawaii_work_faults_total", "Tries of a lease loop that ended in an unexpected exception.", ("loop",))
PARKED = Gauge("kawaii_parked_work", "Pieces of work that wait for an operator's release.", ("loop",))

logger = structlog.get_logger()


@dataclass(frozen=True)
class WorkFault:
    """A piece of work that failed: how often in a row, the last cause, and since when it is parked (0: not)."""

    loop: str
    work_id: str
    count: int
    cause: str
    """The exception's type and where it was raised. Never its message, which may quote a prompt."""
    trace: str
    """The innermost frames, one a line, outermost first."""
    first_ms: int
    last_ms: int
    park_ms: int = 0

    @property
    def parked(self) -> bool:
        """True when no loop tries the work any more."""
        return self.park_ms > 0

    @property
    def pause_seconds(self) -> float:
        """How long the work is left alone before it is tried again; 0 when it is parked: due at once when released."""
        return 0.0 if self.parked else FIRST_PAUSE_SECONDS * PAUSE_GROWTH ** (self.count - 1)


def work_fault_table(metadata: MetaData) -> Table:
    """The table of faults, as each service with lease loops has it among its own; its migration creates the same."""
    return Table(
        "work_fault",
        metadata,
        Column("loop", Text, primary_key=True),
        Column("work_id", Text, primary_key=True),
        Column("faults", BigInteger, nullable=False),
        Column("cause", Text, nullable=False),
        Column("trace", Text, nullable=False),
        Column("first_ms", BigInteger, nullable=False),
        Column("last_ms", BigInteger, nullable=False),
        Column("park_ms", BigInteger, nullable=False, default=0),
    )


def not_parked(
    table: Table, loop: str | ColumnElement[str], work_id: ColumnElement[str] | Column[str]
) -> ColumnElement[bool]:
    """The condition of a claim that passes over parked work; the table has few rows, so it costs a look at an index."""
    parked = exists().where(table.c.loop == loop, table.c.work_id == work_id, table.c.park_ms > 0)
    return ~parked


def faults_of(table: Table, loop: str | ColumnElement[str], work_id: ColumnElement[str] | Column[str]) -> Label[int]:
    """How often in a row a claimed piece has failed, as the column `faults` of the statement that claims it."""
    failed = select(table.c.faults).where(table.c.loop == loop, table.c.work_id == work_id).scalar_subquery()
    return func.coalesce(failed, 0).label("faults")


async def nothing() -> None:
    """The default of `before_parking`: the work's own state need not show that it is parked."""


class FaultStore:
    """The rows of work that failed; each method is one transaction, and may raise Unavailable with nothing changed."""

    def __init__(self, database: Database, table: Table) -> None:
        self._database = database
        self._table = table

    async def add(self, loop: str, work_id: str, cause: str, trace: str, *, park: bool) -> WorkFault:
        """Count one more failure, and with `park` park the work."""
        fresh = {"faults": 1, "cause": cause, "trace": trace, "first_ms": db_now(), "last_ms": db_now()}
        again = {"faults": self._table.c.faults + 1, "cause": cause, "trace": trace, "last_ms": db_now()}
        parked: dict[str, Any] = {"park_ms": db_now()} if park else {}

        def count(transaction: Transaction) -> WorkFault:
            statement = upsert(transaction, self._table).values(loop=loop, work_id=work_id, **fresh, **parked)
            counted = statement.on_conflict_do_update(index_elements=["loop", "work_id"], set_={**again, **parked})
            return _fault_of(transaction.execute(counted.returning(self._table)).one())

        return await self._database.write(count)

    async def forget(self, loop: str, work_id: str) -> bool:
        """Remove the failures of a piece; False when there were none."""
        row = delete(self._table).where(self._table.c.loop == loop, self._table.c.work_id == work_id)
        return await self._database.write(lambda transaction: bool(transaction.execute(row).rowcount))

    async def parked(self) -> Sequence[WorkFault]:
        """Parked work, the latest first, at most MAX_LISTED."""
        rows = select(self._table).where(self._table.c.park_ms > 0)
        latest = rows.order_by(self._table.c.park_ms.desc(), self._table.c.loop, self._table.c.work_id)
        return await self._database.read(_faults, latest.limit(MAX_LISTED))

    async def of(self, work_ids: Collection[str]) -> Sequence[WorkFault]:
        """The failures of pieces of work, in any loop, parked or not."""
        rows = select(self._table).where(self._table.c.work_id.in_(work_ids)).order_by(self._table.c.last_ms)
        return await self._database.read(_faults, rows)

    async def counts_by_loop(self) -> Mapping[str, int]:
        """How many pieces are parked in each loop."""
        parked = select(self._table.c.loop, func.count().label("pieces")).where(self._table.c.park_ms > 0)
        rows = parked.group_by(self._table.c.loop)
        return await self._database.read(lambda each: {row.loop: row.pieces for row in each.execute(rows)})


class Parking:
    """Does the work of lease loops by the rule above. `loops` are the names of the service's loops, for the metric."""

    def __init__(self, store: FaultStore, loops: Collection[str]) -> None:
        self._store = store
        self._loops = loops

    async def attempt(
        self,
        loop: str,
        work_id: str,
        work: Callable[[], Awaitable[object]],
        *,
        failed: int = 0,
        expected: tuple[type[Exception], ...] = TRANSIENT,
        before_parking: Callable[[], Awaitable[object]] = nothing,
    ) -> WorkFault | None:
        """Do one piece of work that failed `failed` times before; None when it was done, else the failure.

        Raises:
            an error named in `expected`: the work, or before_parking, raised it.
            Unavailable: the fault could not be counted; the work's lease will end.
        """
        failure = await guarded(loop, work_id, work, tries=failed + 1, expected=expected)
        if failure is None:
            if failed:
                await self._store.forget(loop, work_id)
            return None
        park = failed + 1 >= MAX_FAULTS
        if park:
            await before_parking()
        fault = await self._store.add(loop, work_id, failure.cause, "\n".join(failure.trace), park=park)
        if park:
            logger.error("work_parked", loop=loop, work=work_id, cause=failure.cause)
        return fault

    async def listed(self) -> Sequence[WorkFault]:
        """Parked work, the latest first. Raises Unavailable."""
        return await self._store.parked()

    async def of(self, work_ids: Collection[str]) -> Sequence[WorkFault]:
        """The failures of pieces of work, parked or still tried, the latest last. Raises Unavailable."""
        return await self._store.of(work_ids)

    async def require_parked(self, loop: str, work_id: str, method: str) -> None:
        """Refuse to release what is not parked; the sentence names the RPC that lists parked work.

        Raises:
            NotFound: nothing of this loop and id is parked (reason NOT_PARKED).
            Unavailable.
        """
        if (loop, work_id) not in {(fault.loop, fault.work_id) for fault in await self._store.parked()}:
            raise NotFound(f"Nothing of this loop and id is parked. {method} shows what is.", "NOT_PARKED")

    async def release(self, loop: str, work_id: str) -> bool:
        """Have a parked piece tried again as if it had never failed; False when it is not known. Raises Unavailable."""
        released = await self._store.forget(loop, work_id)
        if released:
            logger.info("work_released", loop=loop, work=work_id)
        return released

    async def measure(self) -> None:
        """Set the gauge, also of loops in which nothing is parked. Raises Unavailable."""
        parked = await self._store.counts_by_loop()
        for loop in {*self._loops, *parked}:
            PARKED.labels(loop).set(parked.get(loop, 0))


class Unparked:
    """Does the work of a loop whose pieces are never parked, since the loop gives them up by itself."""

    async def attempt(
        self,
        loop: str,
        work_id: str,
        work: Callable[[], Awaitable[object]],
        *,
        failed: int = 0,
        expected: tuple[type[Exception], ...] = TRANSIENT,
        before_parking: Callable[[], Awaitable[object]] = nothing,
    ) -> WorkFault | None:
        """Do one piece of work; None when it was done, else the failure, which is logged.

        Raises:
            an error named in `expected`: the work raised it.
        """
        del failed, before_parking
        failure = await guarded(loop, work_id, work, expected=expected)
        return failure and WorkFault(loop, work_id, 1, failure.cause, "\n".join(failure.trace), 0, 0)


class LoggedFailure(NamedTuple):
    """A try that ended in an unexpected exception."""

    cause: str
    """The exception's type and where it was raised, without its message."""
    trace: list[str]
    """The innermost frames, outermost first, as file:line function."""


async def guarded(
    loop: str,
    work_id: str,
    work: Callable[[], Awaitable[object]],
    *,
    tries: int = 1,
    expected: tuple[type[Exception], ...] = TRANSIENT,
) -> LoggedFailure | None:
    """Do a piece of work and log and count its unexpected exception, the `tries`-th in a row; None when it was done.

    Raises:
        an error named in `expected`: the work raised it.
    """
    try:
        await work()
    except expected:
        raise
    except Exception as error:  # noqa: BLE001 - a supervisor: one poisoned piece must not stop the others
        failure = _failure_of(error)
    else:
        return None
    logger.error("work_failed", loop=loop, work=work_id, tries=tries, cause=failure.cause, trace=failure.trace)
    FAULTS.labels(loop).inc()
    return failure


def _failure_of(error: Exception) -> LoggedFailure:
    found = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    frames = [f"{_shortened(frame.filename)}:{frame.lineno} {frame.name}" for frame in found]
    kind = type(error).__name__
    return LoggedFailure(f"{kind} at {frames[-1]}" if frames else kind, frames)


def _shortened(filename: str) -> str:
    """A file of ours from the root of the sources, any other by its last two names."""
    path = Path(filename)
    return (
        str(path.relative_to(ROOT))
        if path.is_relative_to(ROOT) and "lib" not in path.parts
        else "/".join(path.parts[-2:])
    )


def _faults(transaction: Transaction, rows: Select[Any]) -> list[WorkFault]:
    return [_fault_of(row) for row in transaction.execute(rows)]


def _fault_of(row: Row[Any]) -> WorkFault:
    """A fault from its row."""
    return WorkFault(row.loop, row.work_id, row.faults, row.cause, row.trace, row.first_ms, row.last_ms, row.park_ms)
