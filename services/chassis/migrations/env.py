"""Alembic's entry point, shared by every service: it connects as the service would and runs the service's revisions."""

import asyncio

from alembic import context
from sqlalchemy import Connection, Engine, event, text

from services.chassis.database import damage_refused, make_engine
from services.chassis.database.postgresql_url import certificate_refused
from services.chassis.migrations.window import Window, read_window, write_window
from services.chassis.settings import refuse


def upgrade(connection: Connection) -> None:
    """Run the revisions in one transaction, in the service's own schema; the version window goes with them."""
    service = context.config.attributes["service"]
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7316578)"))  # two that migrate at once take turns
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{service}"'))
    before, head = read_window(connection), str(context.script.get_current_head())
    if before.is_ahead_of(head):
        if complaint := before.complaint(service, head):
            refuse(complaint)
        return
    context.configure(connection=connection, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    revision = str(context.get_context().get_current_revision())
    after = Window(revision, oldest_compatible(revision))
    if after != before:
        write_window(connection, after)


def oldest_compatible(revision: str) -> str:
    """The oldest revision whose code may use the schema: what the newest revision says that says anything."""
    revisions = list(context.script.iterate_revisions(revision, "base"))
    declared = (getattr(each.module, "oldest_compatible", "") for each in revisions)
    return next(filter(None, declared), revisions[-1].revision)


def begin(connection: Connection) -> None:
    """Take the write lock first: two that migrate at once take turns."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def main() -> None:
    """Open the service's database and upgrade it."""
    attributes = context.config.attributes
    engine = make_engine(attributes["settings"], attributes["service"], statement_seconds=None)  # tables may be large
    if isinstance(engine, Engine):
        event.listen(engine, "begin", begin)
        with damage_refused(attributes["service"]), engine.begin() as connection:
            upgrade(connection)
        return
    try:
        with certificate_refused():
            async with engine.begin() as connection:
                await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


asyncio.run(main())
