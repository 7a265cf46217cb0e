"""A start runs migrations only when a database waits for one."""

import sqlite3
from contextlib import closing
from pathlib import Path

from deploy.launcher.migrations import current, newest, pending


def at_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def test_a_database_that_is_not_there_has_no_revision(tmp_path: Path) -> None:
    assert current(tmp_path / "share.sqlite3") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_database_tells_its_revision(tmp_path: Path) -> None:
    at_revision(tmp_path / "share.sqlite3", "0001")

    assert current(tmp_path / "share.sqlite3") == "0001"


def test_a_file_that_is_no_database_is_left_to_the_migration(tmp_path: Path) -> None:
    (tmp_path / "share.sqlite3").write_bytes(b"not a database at all")

    assert current(tmp_path / "share.sqlite3") == ""


def test_the_newest_revision_is_the_highest_number(tmp_path: Path) -> None:
    versions = tmp_path / "share" / "migrations" / "versions"
    versions.mkdir(parents=True)
    for name in ("0001_initial.py", "0002_titles.py", "helpers.py"):
        (versions / name).touch()

    assert newest("share", tmp_path) == "0002"
    assert newest("storage", tmp_path) == ""


def test_only_databases_behind_their_code_are_pending(tmp_path: Path) -> None:
    at_revision(tmp_path / "share.sqlite3", newest("share"))

    assert pending(["share"], tmp_path) == []
    assert pending(["share"], tmp_path / "elsewhere") == (["share"] if newest("share") else [])
