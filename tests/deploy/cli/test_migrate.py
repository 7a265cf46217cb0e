"""`kawaii migrate` as a person types it: what it says, what it copies first, and that looking changes nothing."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.launcher.processes import DATABASES
from services.chassis.migrations import head_of, migrate, window_of_file
from services.chassis.settings import CommonSettings
from tests.support.postgres import Postgres

Kawaii = Callable[..., "subprocess.CompletedProcess[str]"]
HEAD = head_of("share")
BUSY_SECONDS = 60.0


def command(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `kawaii migrate` to its end on the data in a folder."""
    variables = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder), **environment}
    program = (sys.executable, "-m", "deploy.cli.main", "migrate", *words)
    return subprocess.run(program, capture_output=True, text=True, check=False, env=variables, timeout=BUSY_SECONDS)


def settings_of(folder: Path) -> CommonSettings:
    return CommonSettings(data_dir=folder, database_url="", _env_file=None)


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose databases are those of this release, to copy from."""
    folder = tmp_path_factory.mktemp("present")
    for service in DATABASES:
        migrate(service, settings_of(folder))
    return folder


@pytest.fixture
def data(present: Path, tmp_path: Path) -> Path:
    """A data folder of this release, but for share, which is of the first one."""
    folder = tmp_path / "data"
    shutil.copytree(present, folder, ignore=shutil.ignore_patterns("share*"))
    migrate("share", settings_of(folder), "0001")
    return folder


def digest(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.sqlite3")}


def copies(folder: Path) -> list[Path]:
    return sorted((folder / "backups").glob("*")) if (folder / "backups").exists() else []


def test_it_says_what_became_of_each_database(data: Path) -> None:
    done = command(data)

    assert done.returncode == 0
    assert f"share: up to date (revision {HEAD}, from 0001)" in done.stdout
    assert f"storage: up to date (revision {head_of('storage')})" in done.stdout


def test_check_names_what_would_run_and_changes_nothing(data: Path) -> None:
    before = digest(data)
    done = command(data, "--check")

    assert done.returncode == 3
    assert f"share: at revision 0001, would come to {HEAD}" in done.stdout
    assert "0002 expands: An index by age, for operators who let shares expire." in done.stdout
    assert f"{HEAD} contracts to code of {HEAD} and newer" in done.stdout
    assert f"stop all processes first: code of {HEAD} and newer is needed" in done.stdout
    assert "storage: up to date" in done.stdout
    assert digest(data) == before
    assert copies(data) == []


def test_check_of_present_databases_exits_with_0(present: Path) -> None:
    done = command(present, "--check")

    assert (done.returncode, done.stdout.count("up to date")) == (0, len(DATABASES))


def test_check_of_nothing_makes_nothing(tmp_path: Path) -> None:
    done = command(tmp_path / "data", "--check")

    assert done.returncode == 3
    assert f"share: has no schema, would be made at revision {HEAD}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_refused(data: Path) -> None:
    (data / "share.sqlite3").write_bytes(b"this is no database, though as long as a header of one" * 20)
    for words in ((), ("--check",)):
        done = command(data, *words)

        assert done.returncode == 78
        assert "share.sqlite3 in DATA_DIR is damaged or no SQLite database" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_schema_too_new_is_refused_with_78_by_both(data: Path) -> None:
    command(data)
    with closing(sqlite3.connect(data / "share.sqlite3")) as connection, connection:
        connection.execute("UPDATE schema_window SET revision = '9999', oldest_compatible = '9998'")
    checked, done = command(data, "--check"), command(data)

    assert (checked.returncode, done.returncode) == (78, 78)
    sentence = f"is at revision 9999, which needs code of revision 9998 or newer; this code is of revision {HEAD}."
    assert sentence in checked.stdout
    assert sentence in done.stderr


def test_a_file_is_copied_before_it_is_migrated_and_others_are_not(data: Path) -> None:
    done = command(data)
    (copy,) = copies(data)

    assert copy.name.startswith("share-0001-")
    assert f"share: copied to {copy}" in done.stdout
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    assert window_of_file(copy).revision == "0001"
    assert window_of_file(data / "share.sqlite3").revision == HEAD


def test_a_copy_has_what_others_have_written_and_not_yet_brought_home(data: Path) -> None:
    with closing(sqlite3.connect(data / "share.sqlite3")) as other:
        other.execute("CREATE TABLE note (text TEXT)")
        other.execute("INSERT INTO note VALUES ('in the log beside the file')")
        other.commit()
        assert (data / "share.sqlite3-wal").stat().st_size
        assert command(data).returncode == 0
    with closing(sqlite3.connect(copies(data)[0])) as copy:
        notes = copy.execute("SELECT text FROM note").fetchall()

    assert notes == [("in the log beside the file",)]


def test_two_copies_of_each_database_are_kept(data: Path) -> None:
    folder = data / "backups"
    folder.mkdir()
    for name in ("share-0003-20250101T000000Z", "share-0002-20260101T000000Z", "storage-0001-20200101T000000Z"):
        (folder / f"{name}.sqlite3").touch()
    (folder / "share-0001-20240101T000000Z.part").touch()  # by a process that died
    assert command(data).returncode == 0

    kept = [path.name.partition("Z")[0] for path in copies(data)]
    assert kept[1:] == ["share-0002-20260101T000000", "storage-0001-20200101T000000"]
    assert kept[0].startswith("share-0001-2")
    assert kept[0] > "share-0001-2026"


@pytest.fixture
def full(data: Path) -> Iterator[Path]:
    """The data folder's copies on a disk that has no room for one."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount the small disk that this test fills")
    folder = data / "backups"
    folder.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"this machine forbids mounting: {mounted.stderr.decode().strip()}")
    try:
        yield data
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_it_with_a_sentence_before_anything_is_changed(full: Path) -> None:
    before = digest(full)
    done = command(full)

    assert done.returncode == 1
    assert "share.sqlite3 cannot be copied to" in done.stderr
    assert "Nothing was changed; make room and run kawaii migrate again." in done.stderr
    assert "Traceback" not in done.stderr
    assert digest(full) == before
    assert copies(full) == []


def test_a_locked_file_is_said_and_left_alone(data: Path) -> None:
    with closing(sqlite3.connect(data / "share.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = command(data)

    assert done.returncode == 1
    assert "The share database is locked by another process" in done.stderr
    assert "Traceback" not in done.stderr
    assert window_of_file(data / "share.sqlite3").revision == "0001"


def test_an_unreachable_postgresql_is_said(tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:9/none"
    for words in ((), ("--check",)):
        done = command(tmp_path, *words, DATABASE_URL=url)

        assert done.returncode == 1
        assert "database c" in done.stderr
        assert "secret" not in done.stderr
        assert "Traceback" not in done.stderr


def test_postgresql_is_checked_and_migrated_too(postgres_server: Postgres, tmp_path: Path) -> None:
    url = postgres_server.create_database()
    before, done, after = (command(tmp_path, *words, DATABASE_URL=url) for words in (("--check",), (), ("--check",)))

    assert before.returncode == 3
    assert f"share: has no schema, would be made at revision {HEAD}" in before.stdout
    assert done.returncode == 0
    assert f"share: up to date (revision {HEAD}, from nothing)" in done.stdout
    assert after.returncode == 0
    assert copies(tmp_path) == []
