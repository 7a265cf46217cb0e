"""What revisions do to tables that are in use, without holding up those that use them (docs/upgrades.md#rules).

Each operation stands alone in its revision: it ends the transaction in which revisions run, and can be repeated after
it was interrupted. On SQLite, where a migration has the file for itself, all of them are plain statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import text

from services.chassis.migrations.upgrade import LOCK_MS

# Who waits for old transactions to end, to build an index or check a constraint, holds up nobody: it may take long.
PATIENT_LOCK_MS = 600_000


def create_index(name: str, table: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    """Build an index while others write; what an interrupted run has left of it is removed first."""
    condition = None if where is None else text(where)
    if not _on_postgresql():
        op.create_index(name, table, columns, unique=unique, sqlite_where=condition)
        return
    with _outside_transaction():
        valid = _scalar("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)", name=name)
        if valid:
            return
        if valid is not None:
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(name, table, columns, unique=unique, postgresql_where=condition, postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    """Remove an index that no statement needs any more, if it is there."""
    if not _on_postgresql():
        op.drop_index(name, table, if_exists=True)
        return
    with _outside_transaction():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def set_not_null(table: str, column: str) -> None:
    """Forbid NULL in a column that holds none any more, and into which no code that may be running writes one."""
    if not _on_postgresql():
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, nullable=False)
        return
    check = f"{table}_{column}_is_not_null"
    with _outside_transaction():
        if not _scalar(
            "SELECT 1 FROM pg_constraint WHERE conname = :name AND conrelid = to_regclass(:table)",
            name=check,
            table=table,
        ):
            with _impatient():
                op.execute(f'ALTER TABLE "{table}" ADD CONSTRAINT "{check}" CHECK ("{column}" IS NOT NULL) NOT VALID')
        op.execute(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{check}"')  # reads the table beside those who write
        with _impatient():  # the checked constraint spares reading the table under the lock
            op.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET NOT NULL')
            op.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{check}"')


def backfill(statement: str) -> None:
    """Run an UPDATE again and again, each time in a transaction of its own, until it finds no row.

    It takes a bounded number of rows and leaves out those that are done:
    `UPDATE share SET kind = 'x' WHERE id IN (SELECT id FROM share WHERE kind IS NULL LIMIT 1000)`.
    """
    if not _on_postgresql():
        while op.get_bind().execute(text(statement)).rowcount:
            pass
        return
    with _outside_transaction(), _impatient():
        while op.get_bind().execute(text(statement)).rowcount:
            pass


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _scalar(question: str, **values: str) -> object:
    return op.get_bind().scalar(text(question), values)


@contextmanager
def _outside_transaction() -> Iterator[None]:
    """Run each statement by itself, with time to wait for locks that hold up nobody."""
    with op.get_context().autocommit_block(), _lock_timeout(PATIENT_LOCK_MS, LOCK_MS):
        yield


@contextmanager
def _impatient() -> Iterator[None]:
    """Wait for locks no longer than others may be made to wait by it."""
    with _lock_timeout(LOCK_MS, PATIENT_LOCK_MS):
        yield


@contextmanager
def _lock_timeout(inside: int, outside: int) -> Iterator[None]:
    op.execute(f"SET lock_timeout = {inside}")
    yield  # a statement that fails ends the session, and with it what was set
    op.execute(f"SET lock_timeout = {outside}")
