"""Migrations bring a fresh database up to date, change nothing when repeated, and are all or nothing."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import inspect

from services.chassis.database import Transaction, connect_database
from services.chassis.migrations import head_of, migrate
from services.chassis.settings import CommonSettings
from tests.chassis.conftest import SERVICE
from tests.support.polling import DEADLINE_SECONDS

ROOT = Path(__file__).parents[3]
MIGRATE = """
import sys
from services.chassis.migrations import migrate
from services.chassis.settings import CommonSettings
migrate(sys.argv[1], CommonSettings())
"""


def tables(settings: CommonSettings, schema: str | None = None) -> set[str]:
    """Names of the tables there are."""

    async def look() -> set[str]:
        async with connect_database(settings, SERVICE) as database:
            return await database.read(names, schema)

    return asyncio.run(look())


def names(transaction: Transaction, schema: str | None) -> set[str]:
    return set(inspect(transaction.connection).get_table_names(schema))


def test_a_fresh_database_gets_its_tables(empty: CommonSettings) -> None:
    before = tables(empty)
    migrate(SERVICE, empty)
    after = tables(empty)

    assert not before
    assert {"alembic_version", "generation", "outbox"} <= after


def test_repeating_changes_nothing(migrated: CommonSettings) -> None:
    before = tables(migrated)
    migrate(SERVICE, migrated)

    assert tables(migrated) == before


def test_each_service_has_a_schema_of_its_own(migrated: CommonSettings) -> None:
    if not migrated.database_url:
        assert [path.name for path in migrated.data_dir.glob("*.sqlite3")] == [f"{SERVICE}.sqlite3"]
        return

    assert not tables(migrated, "public")
    assert "generation" in tables(migrated, SERVICE)


def test_two_services_share_one_database(migrated: CommonSettings) -> None:
    migrate("share", migrated)
    migrate(SERVICE, migrated)

    assert "share" not in tables(migrated)


def test_two_migrations_at_once_do_no_harm(empty: CommonSettings) -> None:
    environment = {**os.environ, "DATA_DIR": str(empty.data_dir), "DATABASE_URL": empty.database_url}
    command = [sys.executable, "-c", MIGRATE, SERVICE]
    running = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(3)]

    assert [process.wait(DEADLINE_SECONDS) for process in running] == [0, 0, 0]
    assert "generation" in tables(empty)


def test_the_newest_revision_is_found_by_its_file() -> None:
    assert head_of(SERVICE).isdigit()
