"""The database of a service, its own SQLite file or its own schema of PostgreSQL: transactions and how they run.

The core of a service opens transactions: `await database.write(store.insert, share)`. A store is a set of synchronous
functions on a Transaction; they may be run again, and return models. The whole function is one transaction:

- on SQLite it runs on a thread, those that write together with what else waits (`sqlite.py`);
- on PostgreSQL it runs on the event loop, over a bounded pool of connections (`postgresql.py`).

A caller that leaves while its function waits has had no effect; what has begun runs to its end.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.chassis.database.notifications import CONNECT_SECONDS, Notifications
from services.chassis.database.postgresql import KEEPALIVE, STATEMENT_SECONDS, Pool
from services.chassis.database.postgresql_url import certificate_refused, driver_url
from services.chassis.database.sqlite import Threads
from services.chassis.database.transaction import COLLISION, DAMAGED, Transaction, db_now, is_damage, upsert
from services.chassis.errors import Unavailable
from services.chassis.migrations import require_compatible
from services.chassis.notifier import Notifier
from services.chassis.settings import CommonSettings, refuse

__all__ = ["COLLISION", "Database", "Transaction", "db_now", "open_database", "upsert", "url_of"]

BUSY_TIMEOUT_MS = 5000  # how long a writer waits for one of another process before it is an error
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb3", "9p", "fuse.sshfs")  # their locks cannot be trusted by SQLite

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """Transactions of one service on its own schema."""

    def __init__(self, engine: Engine, transactions: Threads | Pool) -> None:
        self.engine = engine
        """SQLAlchemy's engine, for events and the dialect."""
        self._transactions = transactions

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, which has one writer and no row locks."""
        return self.engine.dialect.name == "sqlite"

    async def write(self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in a transaction and return what it returned, once that is committed.

        When the transaction collided with another one, the function is run once more.

        Raises:
            Unavailable: the database is down, locked, full or too busy; nothing was committed, unless the connection
                was lost at the very commit.
            what the function raises: nothing was committed.
        """
        name = name_of(function)
        return await self._write(lambda transaction: function(transaction, *args, **kwargs), name, urgent=False)

    async def write_urgently(
        self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The same before all others that wait: for leases, which run out, and what must be noted before a call."""
        name = name_of(function)
        return await self._write(lambda transaction: function(transaction, *args, **kwargs), name, urgent=True)

    async def read(self, function: Callable[Concatenate[Transaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that only reads, all of it on one snapshot on SQLite; readers do not wait for writers.

        Raises:
            Unavailable: the database is down or too busy, or the function tried to write.
        """
        result: R = await self._transactions.read(lambda transaction: function(transaction, *args, **kwargs))
        return result

    async def ping(self) -> None:
        """Run SELECT 1; raises when the database does not answer."""
        await self.read(Transaction.scalar, text("SELECT 1"))

    async def close(self) -> None:
        """Take no more transactions, finish those that were accepted, and close the connections."""
        await self._transactions.close()

    async def _write(self, work: Callable[[Transaction], R], name: str, *, urgent: bool) -> R:
        result: R
        try:
            result = await self._transactions.write(work, name, urgent=urgent)
        except Unavailable as error:
            if error.reason != COLLISION:
                raise
            result = await self._transactions.write(work, name, urgent=urgent)
        return result


def name_of(function: Callable[..., object]) -> str:
    """The function's name in the failpoint that every commit passes, `commit.NAME`."""
    return getattr(function, "__name__", "function")


@asynccontextmanager
async def open_database(
    settings: CommonSettings, service: str, notifier: Notifier | None = None
) -> AsyncIterator[Database]:
    """Open a service's database for the life of the process. Its transactions notify the notifier's subscriptions.

    Raises:
        SystemExit: this code may not use its schema, its file is damaged, or DATABASE_URL does not allow the server's
            certificate.
    """
    async with connect_database(settings, service, notifier=notifier) as database:
        with damage_refused(service), certificate_refused():
            await require_compatible(database, service)
        yield database


@contextmanager
def damage_refused(service: str) -> Iterator[None]:
    """End the process, which no restart would help, when the database's file turns out to be damaged or no database.

    Raises:
        SystemExit: it did; with a sentence for the operator.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error, Unavailable) as error:
        if not is_damage(error) and getattr(error, "reason", "") != DAMAGED:
            raise
        refuse(
            f"{service}.sqlite3 in DATA_DIR is damaged or no SQLite database. Restore a copy; or move it away, with "
            f"{service}.sqlite3-wal and -shm, to begin with an empty one."
        )


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
    if isinstance(engine, Engine):
        database = Database(engine, Threads(engine, service, notified))
    else:
        notifications = Notifications(engine.url, tls_arguments(settings), f"kawaii_{service}", notified)
        pool = Pool(engine, settings.database_connections, statement_seconds, notifications)
        database = Database(engine.sync_engine, pool)
        if notifier is not None:
            notifications.listen()
    try:
        yield database
    finally:
        await database.close()


def url_of(settings: CommonSettings, service: str) -> str:
    """The service's database: its own SQLite file, or the shared PostgreSQL."""
    if not settings.database_url:
        return f"sqlite:///{settings.data_dir.absolute() / service}.sqlite3"
    url, _ = driver_url(settings.database_url)
    return url.render_as_string(hide_password=False)


def tls_arguments(settings: CommonSettings) -> dict[str, Any]:
    """What a connection to PostgreSQL is opened with besides its URL."""
    return driver_url(settings.database_url)[1]


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
            "server_settings": {**KEEPALIVE, "search_path": service, "application_name": f"kawaii-{service}"},
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds,
            **tls_arguments(settings),
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
