"""The tables that statements are written against are those that the migrations make, on every engine."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from services.chassis.database import connect_database
from services.chassis.settings import CommonSettings
from services.generation.stores.tables import metadata


def differences(connection: Connection) -> Any:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return compare_metadata(context, metadata)


async def test_the_migrations_make_the_tables(engine: CommonSettings) -> None:
    async with connect_database(engine, "generation") as database:
        found = await database.read(lambda transaction: differences(transaction.connection))

    assert found == []
