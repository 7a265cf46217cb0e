"""SQL of a test's own: each statement is a transaction."""

from collections.abc import Sequence
from typing import Any

from services.chassis.database import Database, Transaction


async def execute(database: Database, statement: Any, rows: Sequence[dict[str, Any]] | None = None) -> None:
    """Run a statement that changes rows."""

    def change(transaction: Transaction) -> None:
        transaction.execute(statement, rows)

    await database.write(change)


async def fetch_all(database: Database, statement: Any) -> Sequence[Any]:
    """Every row of a query."""
    return await database.read(lambda transaction: transaction.execute(statement).all())


async def fetch_one(database: Database, statement: Any) -> Any:
    """The only row of a query. Raises when there is none, or another."""
    return await database.read(lambda transaction: transaction.execute(statement).one())


async def fetch_value(database: Database, statement: Any) -> Any:
    """The first column of a query's first row; None when there is no row."""
    return await database.read(lambda transaction: transaction.scalar(statement))


async def fetch_values(database: Database, statement: Any) -> Sequence[Any]:
    """The first column of every row of a query."""
    return await database.read(lambda transaction: transaction.scalars(statement).all())
