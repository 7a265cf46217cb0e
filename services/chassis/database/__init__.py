"""The database of a service, its own SQLite file or its own schema of PostgreSQL: transactions and how they run.

The core of a service opens transactions: `await database.write(store.insert, share)`. A store is a set of synchronous
functions on a Transaction; they may be run again, and return models. The whole function is one transaction:

- on SQLite it runs on a thread, those that write together with what else waits (`sqlite.py`);
- on PostgreSQL it runs on the event loop, over a bounded pool of connections (`postgresql.py`).

A caller that leaves while its function waits has had no effect; what has begun runs to its end.
"""

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.chassis.database.failures import COLLISION, translated
from services.chassis.database.legacy import session
from services.chassis.database.notifications import Notifications
from services.chassis.database.postgresql import CONNECT_SECONDS, STATEMENT_SECONDS, Pool
from services.chassis.database.sqlite import Threads
from services.chassis.database.transaction import Transaction, db_now, upsert
from services.chassis.errors import Unavailable
from services.chassis.migrations import require_current
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings, refuse

__all__ = ["COLLISION", "Database", "Transaction", "db_now", "open_database", "upsert", "url_of"]

BUSY_TIMEOUT_MS = 5000  # how long a writer waits for one of another process before it is an error
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb3", "9p", "fuse.sshfs")  # their locks cannot be trusted by SQLite

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
Work = Callable[[Transaction], R]
_running: set[asyncio.Task[Any]] = set()


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


class Database(ABC):
    """Transactions of one service on its own schema."""

    @property
    @abstractmethod
    def is_sqlite(self) -> bool:
        """True on SQLite, which has one writer and no row locks."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for events and the dialect."""

    @overload
    def write(self) -> AbstractAsyncContextManager[AsyncConnection]: ...
    @overload
    def write(
        self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    def write(self, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run a function in a transaction and return what it returned, once that is committed.

        When the transaction collided with another one, the function is run once more.

        Raises:
            Unavailable: the database is down, locked, full or too busy; nothing was committed, unless the connection
                was lost at the very commit.
            what the function raises: nothing was committed.
        """
        if function is None:
            return self._legacy_write()
        return self._write_twice(_on(function, *args, **kwargs), urgent=False)

    async def write_urgently(
        self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same before all others that wait: for leases, which run out, and what must be noted before a call."""
        return await self._write_twice(_on(function, *args, **kwargs), urgent=True)

    @overload
    def read(self) -> AbstractAsyncContextManager[AsyncConnection]: ...
    @overload
    def read(
        self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    def read(self, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run a function that only reads, all of it on one snapshot on SQLite; readers do not wait for writers.

        Raises:
            Unavailable: the database is down or too busy.
        """
        if function is None:
            return self._legacy_read()
        return self._read(_on(function, *args, **kwargs))

    async def ping(self) -> None:
        """Run SELECT 1; raises when the database does not answer."""
        await self.read(_ping)

    @abstractmethod
    async def close(self) -> None:
        """Take no more transactions, finish those that were accepted, and close the connections."""

    async def _write_twice(self, work: Work[R], *, urgent: bool) -> R:
        try:
            return await self._write(work, urgent=urgent)
        except Unavailable as error:
            if error.reason != COLLISION:
                raise
            return await self._write(work, urgent=urgent)

    @abstractmethod
    async def _write(self, work: Work[R], *, urgent: bool) -> R: ...
    @abstractmethod
    async def _read(self, work: Work[R]) -> R: ...
    @abstractmethod
    def _legacy_write(self) -> AbstractAsyncContextManager[AsyncConnection]: ...
    @abstractmethod
    def _legacy_read(self) -> AbstractAsyncContextManager[AsyncConnection]: ...


def _on(function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> Work[R]:
    return lambda transaction: function(transaction, *args, **kwargs)


def _ping(transaction: Transaction) -> None:
    transaction.execute(text("SELECT 1"))


class SqliteDatabase(Database):
    """A file of SQLite's, with threads of its own. Made on the event loop."""

    def __init__(self, engine: Engine, name: str, notifier: Notifier) -> None:
        self._engine, self._threads = engine, Threads(engine, name, notifier)

    @property
    def is_sqlite(self) -> bool:
        """True."""
        return True

    @property
    def engine(self) -> Engine:
        """The engine whose connections the threads hold."""
        return self._engine

    async def close(self) -> None:
        """Finish what waits and end the threads."""
        await self._threads.close()

    async def _write(self, work: Work[R], *, urgent: bool) -> R:
        result: R = await self._threads.writes.run(work, urgent=urgent)
        return result

    async def _read(self, work: Work[R]) -> R:
        result: R = await self._threads.reads.run(work)
        return result

    def _legacy_write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return session(self._threads.writes)

    def _legacy_read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return session(self._threads.reads)


class PostgresDatabase(Database):
    """A schema of PostgreSQL's, with a pool of connections."""

    def __init__(
        self, engine: AsyncEngine, connections: int, statement_seconds: float, notifications: Notifications
    ) -> None:
        self._engine = engine
        self._pool = Pool(engine, connections, statement_seconds, notifications)
        self._notifications = notifications

    @property
    def is_sqlite(self) -> bool:
        """False."""
        return False

    @property
    def engine(self) -> Engine:
        """The engine below the pool."""
        return self._engine.sync_engine

    async def close(self) -> None:
        """Finish what has begun and close the connections."""
        await self._pool.close()
        await self._notifications.close()

    async def _write(self, work: Work[R], *, urgent: bool) -> R:
        result: R = await self._pool.run(work, "BEGIN", "write", urgent=urgent)
        return result

    async def _read(self, work: Work[R]) -> R:
        result: R = await self._pool.run(work, "BEGIN READ ONLY", "read")
        return result

    @asynccontextmanager
    async def _legacy_write(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection, connection.begin():
                yield connection

    def _legacy_read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._legacy_write()


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
async def open_database(
    settings: CommonSettings, service: str, notifier: Notifier | None = None
) -> AsyncIterator[Database]:
    """Open a service's database for the life of the process. Its transactions notify the notifier's subscriptions.

    Raises:
        SystemExit: its schema is not the one this code was written for.
    """
    async with connect_database(settings, service, notifier=notifier) as database:
        await require_current(database, service)
        yield database


@asynccontextmanager
async def connect_database(
    settings: CommonSettings,
    service: str,
    statement_seconds: float = STATEMENT_SECONDS,
    notifier: Notifier | None = None,
) -> AsyncIterator[Database]:
    """The same without a look at the schema."""
    notified = notifier or Notifier()
    engine = make_engine(settings, service, statement_seconds)
    database: Database
    if isinstance(engine, Engine):
        database = SqliteDatabase(engine, service, notified)
    else:
        notifications = Notifications(engine.url, f"kawaii_{service}", notified)
        if notifier is not None:
            notifications.listen()
        database = PostgresDatabase(engine, settings.database_connections, statement_seconds, notifications)
    try:
        yield database
    finally:
        await settled()
        await database.close()


def url_of(settings: CommonSettings, service: str) -> str:
    """The service's database: its own SQLite file, or the shared PostgreSQL."""
    if not settings.database_url:
        return f"sqlite:///{settings.data_dir.absolute() / service}.sqlite3"
    url = make_url(settings.database_url).set(drivername="postgresql+asyncpg")
    if mode := url.query.get("sslmode"):  # libpq's word, which hosts put into the URLs they hand out; asyncpg's is ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.render_as_string(hide_password=False)


def make_engine(
    settings: CommonSettings, service: str, statement_seconds: float | None = STATEMENT_SECONDS
) -> Engine | AsyncEngine:
    """The engine on the service's own SQLite file, or its own PostgreSQL schema."""
    url = url_of(settings, service)
    hide_parameters = True  # they hold prompts, which no log may show; drivers' errors quote them unless told not to
    if url.startswith("sqlite"):
        refuse_network_folder(settings.data_dir)
        arguments = {"check_same_thread": False}  # each thread has its own; one that broke may be closed by another
        engine = create_engine(url, poolclass=NullPool, hide_parameters=hide_parameters, connect_args=arguments)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return create_async_engine(
        url,
        pool_size=settings.database_connections,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        hide_parameters=hide_parameters,
        connect_args={
            "server_settings": {"search_path": service, "application_name": f"kawaii-{service}"},
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds,
        },
    )


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
