"""Alembic's entry point, shared by every service: it connects as the service would and runs the service's revisions."""

import asyncio

from alembic import context
from sqlalchemy import Connection, Engine, event, text

from services.chassis.database import make_engine


def upgrade(connection: Connection) -> None:
    """Run the revisions in one transaction, in the service's own schema."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7316578)"))  # two that migrate at once take turns
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{context.config.attributes["service"]}"'))
    context.configure(connection=connection, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def begin(connection: Connection) -> None:
    """Take the write lock first: two that migrate at once take turns."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def main() -> None:
    """Open the service's database and upgrade it."""
    attributes = context.config.attributes
    engine = make_engine(attributes["settings"], attributes["service"], statement_seconds=None)  # tables may be large
    if isinstance(engine, Engine):
        event.listen(engine, "begin", begin)
        with engine.begin() as connection:
            upgrade(connection)
        return
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


asyncio.run(main())
