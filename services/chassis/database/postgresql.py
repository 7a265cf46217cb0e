"""PostgreSQL on the event loop: a bounded pool of asyncpg connections, on which synchronous functions run.

Why not on threads: measured, they reach 0.75 to 0.9 of this (docs/database.md).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.chassis import failpoints
from services.chassis.context import patience
from services.chassis.database.metrics import IN_USE, MAX_QUEUED, QUEUED, TOOK, WAIT_SECONDS, WAITED, steps_on_loop
from services.chassis.database.notifications import CONNECT_SECONDS, Notifications, close_connections
from services.chassis.database.transaction import PASSING_STATES, Transaction, away, busy, run_notices, translated

# A transaction of ours is idle for milliseconds. One whose process hangs, or whose host is cut off, keeps its locks,
# among them that on the order of the outbox, which all others wait for: the server ends it.
IDLE_SECONDS = 5.0
# Of a host that is cut off the server hears nothing for 4 s, and ends its sessions then, also those that wait for a
# lock themselves: each of these would get it in turn, and keep it for IDLE_SECONDS.
KEEPALIVE = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4000",
    "client_connection_check_interval": "1000",
}
STATEMENT_SECONDS = 30.0  # above any statement of ours; a loop that waits on a dead connection must come back


class Pool:
    """Runs functions in transactions on a bounded number of connections, of which some are kept for urgent ones."""

    def __init__(
        self, engine: AsyncEngine, connections: int, statement_seconds: float, notifications: Notifications
    ) -> None:
        self._notifications = notifications
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # BEGIN goes with its time limit
        self._connections = connections
        self._statement_seconds = statement_seconds
        ordinary = max(1, connections - reserved(connections))
        self._writes = asyncio.Semaphore(max(1, ordinary - 1))  # those may wait for locks, which reads never do
        self._ordinary = asyncio.Semaphore(ordinary)
        self._any = asyncio.Semaphore(connections)
        self._waiting = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def write(self, work: Callable[[Transaction], Any], name: str, *, urgent: bool) -> Any:
        """Run the function in a transaction of its own, and return what it returned once that is committed.

        A caller that leaves while it waits for a connection has had no effect; what has begun is finished.

        Raises:
            Unavailable: no connection became free in time, or the database is away.
        """
        return await self._run(work, name, "BEGIN", "write", urgent=urgent)

    async def read(self, work: Callable[[Transaction], Any]) -> Any:
        """The same for a function that only reads."""
        return await self._run(work, "read", "BEGIN READ ONLY", "read", urgent=False)

    async def _run(self, work: Callable[[Transaction], Any], name: str, begin: str, kind: str, *, urgent: bool) -> Any:
        if self._closed:
            raise away("closed")
        if self._waiting >= MAX_QUEUED and not urgent:
            raise busy()
        since = time.monotonic()
        turn = await self._turn(kind, urgent=urgent)
        WAITED.labels(kind).observe(time.monotonic() - since)
        task = asyncio.create_task(self._finished(work, name, begin, kind, turn))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        """Forget a task; its exception was raised at its caller, unless that had left."""
        self._running.discard(task)
        if not task.cancelled():
            task.exception()

    async def _turn(self, kind: str, *, urgent: bool) -> list[asyncio.Semaphore]:
        """Wait for the right to a connection; whoever gets it releases these semaphores."""
        wanted = [self._any] if urgent else [*([self._writes] if kind == "write" else []), self._ordinary, self._any]
        taken: list[asyncio.Semaphore] = []
        self._waiting += 1
        QUEUED.labels(kind).inc()
        try:
            async with asyncio.timeout(patience(WAIT_SECONDS)):
                for semaphore in wanted:
                    await semaphore.acquire()
                    taken.append(semaphore)
        except TimeoutError:
            _release(taken)
            raise busy() from None
        except BaseException:
            _release(taken)
            raise
        finally:
            self._waiting -= 1
            QUEUED.labels(kind).dec()
        return taken

    async def _finished(
        self,
        work: Callable[[Transaction], Any],
        name: str,
        begin: str,
        kind: str,
        turn: list[asyncio.Semaphore],
    ) -> Any:
        """The result of a transaction whose notices have been run, past the failpoint between commit and answer."""
        result = await steps_on_loop(self._transaction(work, begin, kind, turn))
        if kind == "write":
            await failpoints.reach(f"commit.{name}")
        return result

    async def _transaction(
        self, work: Callable[[Transaction], Any], begin: str, kind: str, turn: list[asyncio.Semaphore]
    ) -> Any:
        transactions: list[Transaction] = []

        def run(connection: Connection) -> tuple[Any, str]:
            transaction = Transaction(connection)
            result = work(transaction)
            transactions.append(transaction)
            topics = transaction.topics
            return result, f"{self._notifications.statement(topics)}; COMMIT" if topics else "COMMIT"

        IN_USE.inc()
        try:
            with TOOK.labels(kind).time(), translated():
                result = await self._attempt(run, begin)
        finally:
            IN_USE.dec()
            _release(turn)
        for transaction in transactions:
            run_notices(transaction.notices)
            self._notifications.notifier.notify(*transaction.topics)
        return result

    async def _attempt(self, run: Callable[[Connection], tuple[Any, str]], begin: str) -> Any:
        connection, driver = await self._begun(begin)
        ended = False
        try:
            try:
                result, commit = await connection.run_sync(run)
            except BaseException:
                await _send(driver, "ROLLBACK", self._statement_seconds)
                ended = True
                raise
            await _send(driver, commit, self._statement_seconds)
            ended = True
            return result
        finally:
            if not ended:  # in a state that we do not know
                await connection.invalidate()
            await connection.close()

    async def _begun(self, begin: str) -> tuple[AsyncConnection, Any]:
        """A connection with an open transaction. Those of the pool may have died unnoticed, so each may fail once."""
        milliseconds = int(patience(self._statement_seconds) * 1000) or 1  # 0 would be no limit
        idle = f"SET LOCAL idle_in_transaction_session_timeout = {int(IDLE_SECONDS * 1000)}"
        opening = f"{begin}; SET LOCAL statement_timeout = {milliseconds}; {idle}"
        for left in range(self._connections, -1, -1):
            connection = await self._engine.connect()
            try:
                driver = (await connection.get_raw_connection()).driver_connection
                await _send(driver, opening, CONNECT_SECONDS)
            except BaseException as error:
                await connection.invalidate()
                await connection.close()
                if not left or not isinstance(error, OSError):
                    raise
            else:
                return connection, driver
        raise away("no connection")

    async def close(self) -> None:
        """Finish what was accepted and close the connections."""
        self._closed = True
        while self._running:  # whoever waits for a connection takes its turn before this is empty
            await asyncio.wait(self._running)
        await close_connections(self._engine)
        await self._notifications.close()


def reserved(connections: int) -> int:
    """How many connections are kept for urgent transactions: a renewal must not wait behind a crowd."""
    return min(2, connections // 4) or 1


def _release(taken: list[asyncio.Semaphore]) -> None:
    for semaphore in reversed(taken):
        semaphore.release()


async def _send(driver: Any, statements: str, seconds: float) -> None:
    """Send statements without parameters as one message. Raises OSError when the connection is lost."""
    import asyncpg  # noqa: PLC0415 - 8 MB that a process on SQLite does not need

    try:
        await driver.execute(statements, timeout=seconds)
    except asyncpg.PostgresError as error:
        if not str(error.sqlstate).startswith(PASSING_STATES):
            raise
        raise ConnectionError(str(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:  # the second when it is just being closed
        raise ConnectionError(str(error)) from error
