"""Compares the tables that a service's statements are written against with those that its migrations make."""

from collections.abc import Set as AbstractSet
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData

from services.chassis.database import connect_database
from services.chassis.migrations.window import TABLE
from services.chassis.settings import CommonSettings

# Alembic's words for differences of tables, and of columns by name and type: not of indexes, constraints and NULL.
TABLES_AND_COLUMNS = frozenset({"add_table", "remove_table", "add_column", "remove_column", "modify_type"})


async def schema_differences(
    settings: CommonSettings, service: str, metadata: MetaData, kinds: AbstractSet[str] = frozenset()
) -> list[Any]:
    """What migrations of a service's database lack or have too much, each beginning with its kind; all, or these kinds.

    Columns are compared by name, type and NULL, and indexes and constraints by name and columns.
    """

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "include_name": lambda name, kind, _parents: (kind, name) != ("table", TABLE)}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, metadata)
        # Changes of one column come as a list of their own.
        return [each for change in found for each in (change if isinstance(change, list) else [change])]

    async with connect_database(settings, service) as database:
        found = await database.read(lambda transaction: compare(transaction.connection))
    return [change for change in found if not kinds or change[0] in kinds]
