"""The database of a service, its own SQLite file or its own schema of PostgreSQL: engine, transactions and clock.

Transactions are shielded from cancellation: one that has begun runs to its end although its caller has left. A task
that is cancelled inside aiosqlite 0.22 may never return, and keeps its connection for ever; a few callers that leave
would empty the pool. On any driver, a commit that was cut off leaves it unknown whether it happened.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import structlog
from sqlalchemy import BigInteger, Table, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from services.chassis.errors import Unavailable
from services.chassis.migrations import require_current
from services.chassis.settings import CommonSettings, refuse

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

# SQLSTATE classes that time heals: connections, a standby during failover, lost races, exhaustion, the operator.
PASSING_STATES = ("08", "25006", "40", "53", "57")
# SQLSTATEs of two transactions that met: a deadlock, a serialization failure, and a row that another one removed
# between our look and our reference to it; the last one has a name of SQLite's, too. The second try finds the other
# transaction done.
COLLISION_STATES = ("40P01", "40001", "23503", "SQLITE_CONSTRAINT_FOREIGNKEY")
COLLISION = "COLLISION"
BUSY_TIMEOUT_MS = 5000  # how long a writer waits for another before it is an error
POOL_SIZE = 5  # SQLite has one writer; PostgreSQL serves many services from one budget of connections
POOL_WAIT_SECONDS = 5.0  # a request that waits longer for a connection is told to come back
CONNECT_SECONDS = 5.0  # asyncpg's own minute would outlive every caller
STATEMENT_SECONDS = 30.0  # above any statement of ours; a loop that waits on a dead connection must come back
# Parameters hold prompts, which no log may show; drivers' errors quote them unless told not to.
ENGINE_OPTIONS: dict[str, Any] = {
    "pool_size": POOL_SIZE,
    "pool_timeout": POOL_WAIT_SECONDS,
    "hide_parameters": True,
}
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb3", "9p", "fuse.sshfs")  # their locks cannot be trusted by SQLite

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
_running: set[asyncio.Task[Any]] = set()

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


def shielded(store: type[C]) -> type[C]:
    """Make each public coroutine method of a store run to its end once begun; its caller may leave at any time."""
    for name, method in list(vars(store).items()):
        if inspect.iscoroutinefunction(method) and not name.startswith("_"):
            setattr(store, name, shielded_method(method))
    return store


async def settled() -> None:
    """Wait until every shielded call that was begun has ended."""
    while _running:
        await asyncio.wait(_running)


def shielded_method(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make one coroutine method run to its end once begun."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        task = asyncio.ensure_future(method(*args, **kwargs))
        _running.add(task)
        task.add_done_callback(_leave)
        return await asyncio.shield(task)

    return call


def _leave(task: "asyncio.Task[Any]") -> None:
    """Forget a task; its exception was raised at its caller, unless that had left."""
    _running.discard(task)
    if not task.cancelled():
        task.exception()


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


def url_of(settings: CommonSettings, service: str) -> str:
    """The service's database: its own SQLite file, or the shared PostgreSQL."""
    if not settings.database_url:
        return f"sqlite+aiosqlite:///{settings.data_dir.absolute() / service}.sqlite3"
    url = make_url(settings.database_url).set(drivername="postgresql+asyncpg")
    if mode := url.query.get("sslmode"):  # libpq's word, which hosts put into the URLs they hand out; asyncpg's is ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.render_as_string(hide_password=False)


def make_engine(
    settings: CommonSettings, service: str, statement_seconds: float | None = STATEMENT_SECONDS
) -> AsyncEngine:
    """The engine on the service's own SQLite file, or its own PostgreSQL schema."""
    url = url_of(settings, service)
    if url.startswith("sqlite"):
        refuse_network_folder(settings.data_dir)
        engine = create_async_engine(url, **ENGINE_OPTIONS)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "invalidate", _release_sqlite)
        return engine
    arguments = {
        "server_settings": {"search_path": service, "application_name": f"kawaii-{service}"},
        "timeout": CONNECT_SECONDS,
        "command_timeout": statement_seconds,
    }
    return create_async_engine(url, **ENGINE_OPTIONS, pool_pre_ping=True, connect_args=arguments)


def refuse_network_folder(folder: Path) -> None:
    """Refuse to keep SQLite on a network file system.

    Raises:
        SystemExit: the folder lies on one.
    """
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return
    lines = (line.split()[:3] for line in mounts.read_text(encoding="utf-8").splitlines())
    inside = [(len(point), kind) for _, point, kind in lines if folder.absolute().is_relative_to(point)]
    if max(inside, default=(0, ""))[1] in NETWORK_FILE_SYSTEMS:
        refuse(f"DATA_DIR {folder} is on a network file system, where SQLite loses data. Use PostgreSQL.")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL so that readers do not wait; FULL so that what was acknowledged survives a power cut."""
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Take the write lock first: a transaction that starts by reading could not upgrade without SQLITE_BUSY."""
    readonly = connection.get_execution_options().get("readonly")
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _release_sqlite(connection: Any, _record: Any, _error: BaseException | None) -> None:
    """Give the write lock back when a statement was cancelled: a close alone waits until its cursor is collected."""
    connection.rollback()
