"""What all replicas of a service must agree on, kept in the service's database: a value under each name.

The first process writes it; any other compares its own when it starts, and refuses to run with another one.
"""

from collections.abc import Collection

from sqlalchemy import Column, MetaData, Table, Text, delete, select, update

from services.chassis.database import Transaction, upsert


def agreement_table(metadata: MetaData) -> Table:
    """The table of one service; its migration makes the same."""
    return Table("agreement", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


def agree(transaction: Transaction, table: Table, name: str, value: str, replaces: Collection[str] = ()) -> str:
    """The value that the replicas agree on: the given one where there is none or one that it replaces."""
    transaction.execute(upsert(transaction, table).values(name=name, value=value).on_conflict_do_nothing())
    named = table.c.name == name
    transaction.execute(update(table).where(named, table.c.value.in_(list(replaces))).values(value=value))
    return str(transaction.scalar(select(table.c.value).where(named)))


def agreed(transaction: Transaction, table: Table, name: str) -> str:
    """The value that the replicas agree on; empty where there is none yet."""
    return transaction.scalar(select(table.c.value).where(table.c.name == name)) or ""


def forget(transaction: Transaction, table: Table, name: str) -> bool:
    """Forget a value, so that the next process to start decides; False when there was none."""
    return bool(transaction.execute(delete(table).where(table.c.name == name)).rowcount)
