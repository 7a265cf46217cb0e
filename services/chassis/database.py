"""One async engine per process on SQLite or PostgreSQL, one set of statements, and the database's own clock."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import structlog
from sqlalchemy import BigInteger, Table, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.chassis.engines import POOL_WAIT_SECONDS, make_engine
from services.chassis.errors import Unavailable
from services.chassis.migrations import require_current
from services.chassis.settings import CommonSettings
from services.chassis.shielding import settled, shielded

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

# SQLSTATE classes that time heals: connections, a standby during failover, lost races, exhaustion, the operator.
PASSING_STATES = ("08", "25006", "40", "53", "57")
# SQLSTATEs of two transactions that met: a deadlock, a serialization failure, and a row that another one removed
# between our look and our reference to it; the last one has a name of SQLite's, too. The second try finds the other
# transaction done.
COLLISION_STATES = ("40P01", "40001", "23503", "SQLITE_CONSTRAINT_FOREIGNKEY")
COLLISION = "COLLISION"

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
logger = structlog.get_logger()


class db_now(FunctionElement[int]):  # noqa: N801 - reads as an SQL function
    """Milliseconds since 1970 by the database's clock: leases of several replicas need one clock."""

    type = BigInteger()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(db_now, "postgresql")
def _postgresql_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


def upsert(connection: AsyncConnection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that can say ON CONFLICT, in the connection's dialect, which is the only one that is loaded."""
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    statement: sqlite.Insert | postgresql.Insert = dialect.insert(table)
    return statement


@shielded
class Database:
    """Transactions of one service on its own schema."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writing = asyncio.Lock()

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, which has one writer and no row locks."""
        return self._engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A short transaction that commits at the end. On SQLite it takes the write lock at once.

        Raises:
            Unavailable: the database is down, locked or full; nothing was committed.
        """
        with translated():
            async with self._turn(), self._engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for reading only; on SQLite readers do not wait for the writer.

        Raises:
            Unavailable: the database is down.
        """
        with translated():
            async with self._engine.connect() as connection:
                reader = await connection.execution_options(readonly=True)
                async with reader.begin():
                    yield reader

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Queue with our other writers: SQLite has one, lets waiters starve, and they would hold connections."""
        if not self.is_sqlite:
            yield
            return
        async with asyncio.timeout(POOL_WAIT_SECONDS):
            await self._writing.acquire()
        try:
            yield
        finally:
            self._writing.release()

    async def ping(self) -> None:
        """Run SELECT 1; raises when the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises when the database is away into Unavailable; mistakes in our statements pass."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:  # OSError: a name that does not resolve, a time that is up
        if state_of(error) in COLLISION_STATES:
            logger.warning("transactions_collided", state=state_of(error))
            raise Unavailable("Others changed the same at this moment. Try again.", COLLISION, retry_after=1) from error
        if isinstance(error, DBAPIError) and not _passes(error):
            raise
        logger.warning("database_away", cause=repr(getattr(error, "orig", error)))
        raise Unavailable("The database is not reachable at the moment. Try again shortly.", retry_after=1) from error


def _passes(error: DBAPIError) -> bool:
    """Whether waiting may help. SQLite's driver and PostgreSQL's name such failures differently."""
    away = isinstance(error, OperationalError) or error.connection_invalidated
    gone = isinstance(error, InterfaceError) and "number of query arguments" not in str(error.orig)  # that one is ours
    return away or gone or state_of(error).startswith(PASSING_STATES)


def state_of(error: Exception) -> str:
    """The SQLSTATE of a driver's error, on SQLite the name of its code; empty when there is neither."""
    origin = getattr(error, "orig", None)
    return str(getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or "")


def retried(store: type[C]) -> type[C]:
    """Make each public coroutine method of a store run once more when its transaction collided with another.

    A method must be fit for that: one transaction, or earlier ones that may be repeated.
    """
    for name, method in list(vars(store).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(store, name, _once_more(method))
    return store


def _once_more(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(*args, **kwargs)
        except Unavailable as error:
            if error.reason != COLLISION:
                raise
            return await method(*args, **kwargs)

    return call


@asynccontextmanager
async def open_database(settings: CommonSettings, service: str) -> AsyncIterator[Database]:
    """Open a service's database for the life of the process.

    Raises:
        SystemExit: its schema is not the one this code was written for.
    """
    engine = make_engine(settings, service)
    try:
        await require_current(engine, service)
        yield Database(engine)
    finally:
        await settled()
        await engine.dispose()
