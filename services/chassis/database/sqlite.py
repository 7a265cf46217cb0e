"""SQLite on threads: one writes what waits as one group, a few read; each has a connection of its own.

Why threads and groups: a driver that is awaited pays two thread switches for each statement, and a commit that is
synced costs as much for sixty transactions as for one (docs/database.md).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from sqlite3 import Connection as Driver
from sqlite3 import Error as DriverError
from threading import Condition, Thread
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Engine

from services.chassis import failpoints
from services.chassis.context import patience
from services.chassis.database.metrics import GROUP, MAX_QUEUED, QUEUED, TOOK, WAIT_SECONDS, WAITED, on_loop
from services.chassis.database.transaction import (
    DAMAGED,
    DAMAGED_STATES,
    Notice,
    Transaction,
    away,
    away_or_damaged,
    busy,
    run_notices,
    state_of,
    translated,
)
from services.chassis.errors import Unavailable
from services.chassis.notifier import Notifier

MAX_GROUP = 64  # transactions that are committed together; more save little of a sync and delay the first
MAX_CHANGES = 500  # rows that a group changes before it commits, so that no member waits for a clean-up's thousands
READERS = 3  # more cost speed, since one runs Python at a time; with fewer, two slow reads would hold up all others
# After these SQLite may have rolled the whole transaction back, savepoints and all (https://sqlite.org/lang_savepoint.html,
# https://sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction).
GROUP_ENDS = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", *DAMAGED_STATES)

logger = structlog.get_logger()


class Job:
    """A function that waits for a transaction, and what became of it."""

    __slots__ = (
        "_notifier",
        "answer",
        "begun",
        "context",
        "error",
        "expired",
        "lane",
        "name",
        "notices",
        "queued",
        "result",
        "work",
    )

    def __init__(
        self, work: Callable[[Transaction], Any], name: str, answer: "asyncio.Future[Any]", notifier: Notifier
    ) -> None:
        self.work = work
        self.name = name
        self.lane: deque[Job] = deque()
        self._notifier = notifier
        self.answer = answer
        self.context: Context = copy_context()
        self.queued = time.monotonic()
        self.begun = False
        self.expired = False
        """Its time ran out while a thread had taken it and not begun it."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.notices: list[Notice] = []

    def run(self, connection: Connection) -> None:
        """Run the function on a connection whose transaction has begun; may be repeated in another one."""
        transaction = Transaction(connection)
        self.begun = True
        self.error, self.notices = None, transaction.notices
        try:
            with translated():
                self.result = self.context.run(self.work, transaction)
            if transaction.topics:
                self.notices.append(partial(self._notifier.notify, *transaction.topics))
        except BaseException as error:  # noqa: BLE001 - it is raised at the caller
            self.fail(error)

    @property
    def is_forsaken(self) -> bool:
        """Whether its caller has left before it was begun. Asked by threads."""
        return not self.begun and self.answer.done()

    def pass_failpoint(self) -> None:
        """Pass the failpoint between the commit and the answer; an error there is what the caller hears."""
        if not failpoints.FAILPOINTS.armed:
            return
        try:
            self.context.run(failpoints.reach_in_thread, f"commit.{self.name}")
        except Unavailable as error:
            self.error = error

    def fail(self, error: BaseException) -> None:
        """Note the error to raise at the caller; its transaction is rolled back."""
        self.error, self.result, self.notices = error, None, []

    def settle(self) -> None:
        """Run the notices and answer the caller, if it still waits. Called on the event loop."""
        self.context.run(run_notices, self.notices)
        if self.answer.done():
            return
        if self.error is None:
            self.answer.set_result(self.result)
        else:
            self.answer.set_exception(self.error)


class Queue:
    """Jobs that wait for the threads of one kind, urgent ones first."""

    def __init__(self, kind: str, notifier: Notifier) -> None:
        self.took = TOOK.labels(kind)
        self._queued, self._waited = QUEUED.labels(kind), WAITED.labels(kind)
        self._notifier = notifier
        self._loop = asyncio.get_running_loop()
        self._urgent: deque[Job] = deque()
        self._ordinary: deque[Job] = deque()
        self._ended: list[Job] = []
        self._changed = Condition()
        self._closed = False

    async def run(self, work: Callable[[Transaction], Any], name: str, *, urgent: bool) -> Any:
        """Have a thread run the function, and return what it returned once that is committed.

        A caller that leaves takes its job out of the queue; one that has begun is finished.

        Raises:
            Unavailable: the queue is full, the job waited for too long, or the database is being closed.
        """
        job = Job(work, name, self._loop.create_future(), self._notifier)
        job.lane = self._urgent if urgent else self._ordinary
        self._put(job)
        timer = self._loop.call_later(patience(WAIT_SECONDS), self._expire, job)
        try:
            return await job.answer
        finally:
            timer.cancel()
            if not job.answer.done() or job.answer.cancelled():
                self._remove(job)

    def _put(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise away("closed")
            if len(self._urgent) + len(self._ordinary) >= MAX_QUEUED and job.lane is self._ordinary:
                raise busy()
            job.lane.append(job)
            self._changed.notify()
        self._queued.inc()

    def _remove(self, job: Job) -> bool:
        """Take a job out that no thread has taken; False when one has."""
        with self._changed:
            try:
                job.lane.remove(job)
            except ValueError:
                return False
        self._queued.dec()
        return True

    def _expire(self, job: Job) -> None:
        with self._changed:
            job.expired = True
        if self._remove(job) and not job.answer.done():
            job.answer.set_exception(busy())

    def take(self, limit: int) -> list[Job]:
        """Wait for jobs and take at most so many; none once the queue is closed and empty. Called by threads."""
        with self._changed:
            while not self._urgent and not self._ordinary:
                if self._closed:
                    return []
                self._changed.wait()
            taken = [self._next() for _ in range(min(limit, len(self._urgent) + len(self._ordinary)))]
        now = time.monotonic()
        self._queued.dec(len(taken))
        for job in taken:
            self._waited.observe(now - job.queued)
        return taken

    def _next(self) -> Job:
        return (self._urgent or self._ordinary).popleft()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Return jobs that were taken and not begun to the head of their lane. Called by the thread that took them.

        Those whose callers have left are dropped, and those whose time has run out meanwhile are refused.
        """
        with self._changed:
            late = [job for job in jobs if job.expired]
            waiting = [job for job in jobs if not job.expired and not job.is_forsaken]
            for job in reversed(waiting):
                job.lane.appendleft(job)
            self._changed.notify()
        self._queued.inc(len(waiting))
        for job in late:
            job.fail(busy())
        self.settle(late)

    def settle(self, jobs: Sequence[Job]) -> None:
        """Answer the callers of jobs that have ended. Called by threads, which wake the loop once for all that end."""
        with self._changed:
            scheduled = bool(self._ended)
            self._ended += jobs
        if not scheduled:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._settle_ended)

    def _settle_ended(self) -> None:
        with self._changed:
            ended, self._ended = self._ended, []
        with on_loop():
            for job in ended:
                job.settle()

    def close(self) -> None:
        """Take no more jobs; the threads end when they have done those that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Session:
    """A thread's own connection, which is opened when it is first needed and after each failure that broke it."""

    def __init__(self, engine: Engine, *, reads_only: bool = False) -> None:
        self._engine = engine
        self._reads_only = reads_only
        self._connection: Connection | None = None

    def begin(self, statement: str) -> tuple[Connection, Driver]:
        """Begin a transaction. Raises Unavailable, and what the driver says of a file that is no database."""
        with translated():
            if self._connection is None:
                self._connection = self._engine.connect()
                if self._reads_only:
                    self._connection.exec_driver_sql("PRAGMA query_only = ON")
            driver = cast("Driver", self._connection.connection.driver_connection)
            try:
                driver.execute(statement)
            except DriverError as error:
                self.discard()
                raise away_or_damaged(error) from error
            except BaseException:
                self.discard()
                raise
        return self._connection, driver

    def discard_if_damaged(self, error: BaseException | None) -> None:
        """Close the connection after an error that a damaged file causes: the next one opens what is restored."""
        if isinstance(error, Unavailable) and error.reason == DAMAGED:
            self.discard()

    def discard(self) -> None:
        """Close the connection, whatever state it is in; an open transaction is rolled back."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.invalidate()
            with suppress(Exception):
                self._connection.close()
            self._connection = None


class Writer:
    """The thread that writes: takes what waits as one group and commits it once."""

    def __init__(self, engine: Engine, queue: Queue) -> None:
        self._session = _Session(engine)
        self._queue = queue

    def run(self) -> None:
        """Write until the queue is closed and empty."""
        while jobs := self._queue.take(MAX_GROUP):
            began = time.perf_counter()
            try:
                self._write(jobs)
            except Exception as error:  # a supervisor: a mistake of ours must not leave callers waiting for ever
                logger.exception("database_thread_failed")
                self._session.discard()
                self._fail(jobs, away(error))
            self._queue.took.observe(time.perf_counter() - began)
        self._session.discard()

    def _write(self, jobs: list[Job]) -> None:
        """Run the jobs in one transaction; each has a savepoint, so that one that fails undoes only its own changes."""
        try:
            connection, driver = self._session.begin("BEGIN IMMEDIATE")
        except BaseException as error:  # noqa: BLE001 - it is raised at each caller
            self._fail(jobs, error)
            return
        begun: list[Job] = []
        before = driver.total_changes
        for number, job in enumerate(jobs):
            if begun and driver.total_changes - before >= MAX_CHANGES:
                self._queue.put_back(jobs[number:])
                break
            if job.is_forsaken:
                continue
            self._member(connection, driver, job, grouped=len(jobs) > 1)
            begun.append(job)
            if job.error is not None and (not driver.in_transaction or _ends_group(job.error)):
                self._singly(driver, begun, jobs[number + 1 :])
                return
        self._commit(driver, begun)

    def _member(self, connection: Connection, driver: Driver, job: Job, *, grouped: bool) -> None:
        if not grouped:
            job.run(connection)
            return
        try:
            driver.execute("SAVEPOINT member")
            job.run(connection)
            if job.error is not None and driver.in_transaction:
                driver.execute("ROLLBACK TO member")
            if driver.in_transaction:
                driver.execute("RELEASE member")
        except DriverError as error:  # of a savepoint: the group is rolled back and run again singly
            job.fail(error)
            with suppress(DriverError):
                driver.execute("ROLLBACK")

    def _singly(self, driver: Driver, begun: list[Job], others: list[Job]) -> None:
        """Undo the group, of which a member broke the transaction, and run each member that had begun by itself."""
        if driver.in_transaction:
            with suppress(DriverError):
                driver.execute("ROLLBACK")
        if driver.in_transaction:
            self._session.discard()
        self._session.discard_if_damaged(begun[-1].error)
        self._queue.put_back(others)
        if len(begun) == 1:
            self._queue.settle(begun)
            return
        for job in begun:
            self._write([job])

    def _commit(self, driver: Driver, jobs: list[Job]) -> None:
        alone_and_failed = len(jobs) == 1 and jobs[0].error is not None
        if not driver.in_transaction and not alone_and_failed:  # a function took no notice of its statement's failure
            self._fail(jobs, away("rolled back"))
            return
        GROUP.observe(len(jobs))
        try:
            if driver.in_transaction:
                driver.execute("ROLLBACK" if alone_and_failed else "COMMIT")
        except DriverError as error:  # whether it was committed is not known
            self._session.discard()
            self._fail(jobs, away_or_damaged(error))
            return
        for job in jobs:
            if job.error is None:
                job.pass_failpoint()
        self._queue.settle(jobs)

    def _fail(self, jobs: Sequence[Job], error: BaseException) -> None:
        for job in jobs:
            job.fail(error)
        self._queue.settle(jobs)


def _ends_group(error: BaseException) -> bool:
    cause = error.__cause__ or error  # translated
    return state_of(cause).startswith(GROUP_ENDS)


class Reader:
    """A thread that reads; in WAL mode it neither waits for the writer nor delays it."""

    def __init__(self, engine: Engine, queue: Queue) -> None:
        self._session = _Session(engine, reads_only=True)
        self._queue = queue

    def run(self) -> None:
        """Read until the queue is closed and empty."""
        while jobs := self._queue.take(1):
            began = time.perf_counter()
            self._read(jobs[0])
            self._queue.took.observe(time.perf_counter() - began)
        self._session.discard()

    def _read(self, job: Job) -> None:
        try:
            connection, driver = self._session.begin("BEGIN")
            job.run(connection)
            try:
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
            except DriverError:  # what was read is read
                self._session.discard()
            self._session.discard_if_damaged(job.error)
        except BaseException as error:  # noqa: BLE001 - it is raised at the caller
            job.fail(error)
        self._queue.settle([job])


class Threads:
    """The queues and threads of one SQLite file."""

    def __init__(self, engine: Engine, name: str, notifier: Notifier) -> None:
        self._engine = engine
        self._writes, self._reads = Queue("write", notifier), Queue("read", notifier)
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Semaphore(0)
        workers = {f"{name}-writer": Writer(engine, self._writes).run}
        workers |= {f"{name}-reader-{number}": Reader(engine, self._reads).run for number in range(READERS)}
        self._threads = [Thread(target=self._run, args=(run,), name=name) for name, run in workers.items()]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._ended.release)

    async def write(self, work: Callable[[Transaction], Any], name: str, *, urgent: bool) -> Any:
        """Have the writer run the function, and return what it returned once that is committed."""
        return await self._writes.run(work, name, urgent=urgent)

    async def read(self, work: Callable[[Transaction], Any]) -> Any:
        """Have a reader run the function."""
        return await self._reads.run(work, "read", urgent=False)

    async def close(self) -> None:
        """Finish what waits and end the threads."""
        self._writes.close()
        self._reads.close()
        for _ in self._threads:
            await self._ended.acquire()
        self._engine.dispose()
