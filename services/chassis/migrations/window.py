"""The version window of a schema: its revision, and the oldest revision whose code may still use it.

Migrations write both into the table `schema_window`, in the transaction that changes the schema. A process starts if
oldest_compatible <= the newest revision of its own code <= revision (docs/upgrades.md#the-version-window).
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, SmallInteger, String, Table, inspect, select, text

if TYPE_CHECKING:
    from services.chassis.database import Transaction

TABLE = "schema_window"
ONLY_ROW = 1

schema_window = Table(
    TABLE,
    MetaData(),
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("revision", String(32), nullable=False),
    Column("oldest_compatible", String(32), nullable=False),
)


@dataclass(frozen=True)
class Window:
    """Which code may use a schema. Both are empty when the schema is not there, the second one before it was kept."""

    revision: str = ""
    oldest_compatible: str = ""

    def complaint(self, service: str, head: str) -> str:
        """Why code whose newest revision is `head` may not use the schema, and what to do; empty when it may."""
        if not self.revision:
            return f"The {service} database has no schema yet; this code wants revision {head}. Run: kawaii migrate"
        if order_of(self.revision) < order_of(head):
            return f"The {service} database is at revision {self.revision}, this code wants {head}. Run: kawaii migrate"
        if not self.oldest_compatible and self.revision == head:
            return (
                f"The {service} database is at revision {head}, as this code wants it, but does not say which older "
                "code may use it. Run: kawaii migrate"
            )
        oldest = self.oldest_compatible or self.revision
        if order_of(head) < order_of(oldest):
            return (
                f"The {service} database is at revision {self.revision}, which needs code of revision {oldest} or "
                f"newer; this code is of revision {head}. Upgrade this process to a release that has revision {oldest}."
            )
        return ""

    def is_behind(self, head: str) -> bool:
        """Whether the code has something to migrate: revisions that are missing, or the window itself."""
        return not (self.revision and self.oldest_compatible) or order_of(self.revision) < order_of(head)

    def is_ahead_of(self, head: str) -> bool:
        """Whether the schema is newer than the code, so that this code has nothing to migrate."""
        return bool(self.revision) and order_of(self.revision) > order_of(head)


def order_of(revision: str) -> int:
    """The place of a revision in the order of all: revisions are numbers."""
    return int(revision)


def window_of(transaction: "Transaction") -> Window:
    """The window of the schema that a transaction sees."""
    return read_window(transaction.connection)


def read_window(connection: Connection) -> Window:
    """The window of the schema of a connection."""
    tables = inspect(connection).get_table_names()  # asked first: on PostgreSQL a failed statement ends a transaction
    columns = (schema_window.c.revision, schema_window.c.oldest_compatible)
    if TABLE in tables and (row := connection.execute(select(*columns)).first()):
        return Window(*row)
    if "alembic_version" in tables:
        return Window(str(connection.scalar(text("SELECT version_num FROM alembic_version")) or ""))
    return Window()


def write_window(connection: Connection, window: Window) -> None:
    """Keep the window of the schema of a connection, in the transaction that is open on it."""
    schema_window.metadata.create_all(connection)
    values = {"id": ONLY_ROW, "revision": window.revision, "oldest_compatible": window.oldest_compatible}
    connection.execute(schema_window.delete())
    connection.execute(schema_window.insert().values(values))


def window_of_file(database: Path) -> Window:
    """The window of an SQLite file, which is not touched.

    Raises:
        sqlite3.Error: it is no database, or cannot be read.
    """
    if not database.exists():
        return Window()
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for table, columns in ((TABLE, "revision, oldest_compatible"), ("alembic_version", "version_num")):
            if (table,) in names and (row := connection.execute(f"SELECT {columns} FROM {table}").fetchone()):  # noqa: S608 - constants
                return Window(*row)
    return Window()
