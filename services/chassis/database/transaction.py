"""What stores see of a database: a transaction, the dialect's INSERT … ON CONFLICT, and the database's clock."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

from sqlalchemy import BigInteger, Connection, CursorResult, Executable, ScalarResult, Table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TypedReturnsRows

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Columns = TypeVarTuple("Columns")
V = TypeVar("V")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Notice = Callable[[], object]


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
