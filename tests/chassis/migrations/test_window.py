"""A process starts on every schema in whose version window its own newest revision lies, and says so of any other."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.database import Transaction, connect_database, open_database
from services.chassis.migrations import SERVICES, Window, head_of, migrate, versions_of, window_of, window_of_file
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings
from tests.chassis.conftest import SERVICE
from tests.chassis.migrations.revisions import later, write

HEAD, NEXT, AFTER = head_of(SERVICE), later(SERVICE), later(SERVICE, 2)
ADD = 'op.add_column("outbox", sa.Column("note", sa.Text))'
SAME = "pass"
ROOT = Path(__file__).parents[3]


async def found(settings: CommonSettings) -> Window:
    async with connect_database(settings, SERVICE) as database:
        return await database.read(window_of)


async def execute(settings: CommonSettings, statement: str) -> None:
    async with connect_database(settings, SERVICE) as database:
        await database.write(Transaction.execute, text(statement))


async def opened(settings: CommonSettings) -> bool:
    async with open_database(settings, SERVICE):
        return True


async def refusal(settings: CommonSettings, capsys: pytest.CaptureFixture[str]) -> str:
    """What a process says that does not start."""
    with pytest.raises(SystemExit) as caught:
        await opened(settings)
    assert caught.value.code == EXIT_CONFIGURATION
    return capsys.readouterr().err


async def test_a_migration_says_which_code_may_use_the_schema(empty: CommonSettings) -> None:
    await asyncio.to_thread(migrate, SERVICE, empty)

    assert await found(empty) == Window(HEAD, HEAD)
    assert await opened(empty)


async def test_code_works_on_the_next_schema_when_the_migration_expands(
    migrated: CommonSettings, tmp_path: Path
) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD, SAME)
    await asyncio.to_thread(migrate, SERVICE, migrated, additional=folder)

    assert await found(migrated) == Window(AFTER, HEAD)
    assert await opened(migrated)


async def test_code_older_than_a_contraction_is_told_what_to_upgrade_to(
    migrated: CommonSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD, SAME, oldest_compatible=NEXT)
    await asyncio.to_thread(migrate, SERVICE, migrated, additional=folder)

    assert await found(migrated) == Window(AFTER, NEXT)
    assert await refusal(migrated, capsys) == (
        f"The {SERVICE} database is at revision {AFTER}, which needs code of revision {NEXT} or newer; this code is of "
        f"revision {HEAD}. Upgrade this process to a release that has revision {NEXT}.\n"
    )


async def test_a_schema_older_than_the_code_is_told_to_migrate(
    empty: CommonSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(migrate, SERVICE, empty, "0001")

    assert await found(empty) == Window("0001", "0001")
    assert await refusal(empty, capsys) == (
        f"The {SERVICE} database is at revision 0001, this code wants {HEAD}. Run: kawaii migrate\n"
    )


async def test_a_database_without_a_schema_is_told_to_migrate(
    empty: CommonSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await refusal(empty, capsys) == (
        f"The {SERVICE} database has no schema yet; this code wants revision {HEAD}. Run: kawaii migrate\n"
    )


async def test_a_database_from_before_the_window_gets_one(
    migrated: CommonSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    await execute(migrated, "DROP TABLE schema_window")
    said = await refusal(migrated, capsys)
    await asyncio.to_thread(migrate, SERVICE, migrated)

    assert HEAD in said
    assert "Run: kawaii migrate" in said
    assert await found(migrated) == Window(HEAD, HEAD)
    assert await opened(migrated)


async def test_older_code_leaves_a_newer_schema_as_it_is(migrated: CommonSettings, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD)
    await asyncio.to_thread(migrate, SERVICE, migrated, additional=folder)
    await asyncio.to_thread(migrate, SERVICE, migrated)

    assert await found(migrated) == Window(NEXT, HEAD)


async def test_older_code_that_may_not_use_a_schema_does_not_migrate_it(
    migrated: CommonSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "more", SERVICE, ADD, oldest_compatible=NEXT)
    await asyncio.to_thread(migrate, SERVICE, migrated, additional=folder)
    with pytest.raises(SystemExit) as caught:
        await asyncio.to_thread(migrate, SERVICE, migrated)

    assert caught.value.code == EXIT_CONFIGURATION
    assert f"Upgrade this process to a release that has revision {NEXT}" in capsys.readouterr().err
    assert await found(migrated) == Window(NEXT, NEXT)


async def test_a_migration_that_fails_leaves_the_window_of_before(migrated: CommonSettings, tmp_path: Path) -> None:
    folder = write(tmp_path / "more", SERVICE, f'{ADD}\nraise ValueError("an error of a test")')
    with pytest.raises(ValueError, match="of a test"):
        await asyncio.to_thread(migrate, SERVICE, migrated, additional=folder)

    assert await found(migrated) == Window(HEAD, HEAD)


def test_a_file_is_read_without_being_changed(sqlite: CommonSettings) -> None:
    database = sqlite.data_dir / f"{SERVICE}.sqlite3"
    before = database.read_bytes()

    assert window_of_file(database) == Window(HEAD, HEAD)
    assert database.read_bytes() == before


def test_revisions_are_compared_as_numbers() -> None:
    assert Window("0010", "0009").complaint(SERVICE, "0009") == ""
    assert Window("10000", "9999").complaint(SERVICE, "9999") == ""
    assert Window("10000", "9999").complaint(SERVICE, "9998")


@pytest.mark.parametrize("service", sorted(path.parents[1].name for path in SERVICES.glob("*/migrations/versions")))
def test_oldest_compatible_only_rises_and_never_beyond_its_revision(service: str, tmp_path: Path) -> None:
    settings = CommonSettings(data_dir=tmp_path, database_url="", _env_file=None)
    windows = []
    for revision in sorted(path.name.split("_")[0] for path in versions_of(service).glob("[0-9]*_*.py")):
        migrate(service, settings, revision)
        windows.append(window_of_file(tmp_path / f"{service}.sqlite3"))
    oldest = [window.oldest_compatible for window in windows]

    assert oldest == sorted(oldest)
    assert all(window.oldest_compatible <= window.revision for window in windows)


def test_a_process_that_may_not_use_its_schema_ends_with_78(sqlite: CommonSettings, tmp_path: Path) -> None:
    migrate(SERVICE, sqlite, additional=write(tmp_path / "more", SERVICE, ADD, oldest_compatible=NEXT))
    environment = {**os.environ, "DATA_DIR": str(sqlite.data_dir), "DATABASE_URL": ""}
    command = [sys.executable, "-m", f"services.{SERVICE}"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)

    assert ended.returncode == EXIT_CONFIGURATION
    assert f"is at revision {NEXT}, which needs code of revision {NEXT} or newer".encode() in ended.stderr
    assert b"Traceback" not in ended.stderr
