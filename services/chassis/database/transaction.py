"""What stores see of a database: a transaction, the dialect's INSERT … ON CONFLICT, the database's clock, and failures.

What drivers raise becomes our errors: which failures time heals, and which are mistakes in our statements.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import structlog
from sqlalchemy import BigInteger, Connection, CursorResult, Executable, ScalarResult, Table
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TypedReturnsRows

from services.chassis.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Columns = TypeVarTuple("Columns")
V = TypeVar("V")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Notice = Callable[[], object]

# SQLSTATE classes that time heals: connections, a standby during failover, a transaction in which we hung, lost races,
# exhaustion, the operator.
PASSING_STATES = ("08", "25006", "25P03", "40", "53", "57")
# SQLSTATEs of two transactions that met: a deadlock, a serialization failure, and a row that another one removed
# between our look and our reference to it; the last one has a name of SQLite's, too. The second try finds the other
# transaction done.
COLLISION_STATES = ("40P01", "40001", "23503", "SQLITE_CONSTRAINT_FOREIGNKEY")
COLLISION = "COLLISION"
# SQLite's errors of a file that is damaged or no database: the operator heals it, by restoring a copy.
DAMAGED_STATES = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
DAMAGED = "DATABASE_DAMAGED"
DAMAGED_RETRY_SECONDS = 30  # an operator does not restore a copy sooner

logger = structlog.get_logger()


class Transaction:
    """A transaction as a store sees it: statements, which are answered at once, and notices for after the commit.

    It lasts as long as the function that was given to `Database.read` or `Database.write`; nobody keeps it.
    """

    __slots__ = ("_connection", "notices", "topics")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.notices: list[Notice] = []
        self.topics: list[str] = []

    @property
    def connection(self) -> Connection:
        """The connection itself, for tools that know SQLAlchemy; a store has no use for it."""
        return self._connection

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    @overload
    def execute(
        self, statement: TypedReturnsRows[*Columns], rows: Parameters | None = None
    ) -> CursorResult[*Columns]: ...
    @overload
    def execute(self, statement: Executable, rows: Parameters | None = None) -> CursorResult[*tuple[Any, ...]]: ...
    def execute(self, statement: Executable, rows: Parameters | None = None) -> CursorResult[*tuple[Any, ...]]:
        """Run a statement, with several rows once for each."""
        return self._connection.execute(statement, rows)

    @overload
    def scalar(self, statement: TypedReturnsRows[V]) -> V | None: ...
    @overload
    def scalar(self, statement: Executable) -> Any: ...
    def scalar(self, statement: Executable) -> Any:
        """The first column of a statement's first row; None when there is no row."""
        return self._connection.scalar(statement)

    @overload
    def scalars(self, statement: TypedReturnsRows[V]) -> ScalarResult[V]: ...
    @overload
    def scalars(self, statement: Executable) -> ScalarResult[Any]: ...
    def scalars(self, statement: Executable) -> ScalarResult[Any]:
        """The first column of every row."""
        return self._connection.scalars(statement)

    def after_commit(self, notice: Notice) -> None:
        """Call this on the event loop once the transaction has committed, also when its caller has left by then."""
        self.notices.append(notice)

    def notify(self, *topics: str) -> None:
        """Wake who waits for these topics (`Notifier`) once the transaction has committed.

        In this process at once; on PostgreSQL in those of other replicas, too. A notification may be lost there, so
        whoever waits also looks from time to time. A topic has no white space.
        """
        self.topics += topics


def run_notices(notices: Sequence[Notice]) -> None:
    """Run what was registered for after the commit; one that fails changes nothing of what is committed."""
    for notice in notices:
        try:
            notice()
        except Exception:
            logger.exception("notice_failed")


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


def upsert(transaction: Transaction, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that can say ON CONFLICT, in the transaction's dialect, which is the only one that is loaded."""
    dialect = import_module(f"sqlalchemy.dialects.{transaction.dialect}")
    statement: sqlite.Insert | postgresql.Insert = dialect.insert(table)
    return statement


def away(cause: object = "") -> Unavailable:
    """The error of a database that cannot be reached or does not work at the moment."""
    logger.warning("database_away", cause=repr(cause))
    return Unavailable("The database is not reachable at the moment. Try again shortly.", retry_after=1)


def busy() -> Unavailable:
    """The error of a database whose queue is full, or in which a request has waited for too long."""
    logger.warning("database_busy")
    return Unavailable("The service is busier than it can bear at the moment. Try again shortly.", retry_after=1)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises when the database is away into Unavailable; mistakes in our statements pass."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:  # OSError: a name that does not resolve, a time that is up
        if state_of(error) in COLLISION_STATES:
            logger.warning("transactions_collided", state=state_of(error))
            raise Unavailable("Others changed the same at this moment. Try again.", COLLISION, retry_after=1) from error
        if isinstance(error, DBAPIError) and not is_damage(error) and not _passes(error):
            raise
        raise away_or_damaged(error) from error


def is_damage(error: BaseException) -> bool:
    """Whether the database's file is damaged or no database."""
    return state_of(error).startswith(DAMAGED_STATES)


def away_or_damaged(error: BaseException) -> Unavailable:
    """The error of a database on which a statement failed that is no mistake of ours."""
    cause = getattr(error, "orig", None) or error
    if not is_damage(error):
        return away(cause)
    logger.error("database_damaged", cause=repr(cause))
    sentence = "The service's database is damaged. Its operator has to restore it."
    return Unavailable(sentence, DAMAGED, retry_after=DAMAGED_RETRY_SECONDS)


def _passes(error: DBAPIError) -> bool:
    """Whether waiting may help. SQLite's driver and PostgreSQL's name such failures differently."""
    unreachable = isinstance(error, OperationalError) or error.connection_invalidated
    gone = isinstance(error, InterfaceError) and "number of query arguments" not in str(error.orig)  # that one is ours
    return unreachable or gone or state_of(error).startswith(PASSING_STATES)


def state_of(error: BaseException) -> str:
    """The SQLSTATE of a driver's error, on SQLite the name of its code; empty when there is neither."""
    origin = getattr(error, "orig", None) or error
    return str(getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or "")
