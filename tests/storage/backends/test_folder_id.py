"""The folder of the local backend is the one in which the database's files lie, or the process does not start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.chassis.database import Database
from services.storage.backends.folder_id import MARKER, require_same_folder
from services.storage.settings import StorageSettings


def at(folder: Path, **more: Any) -> StorageSettings:
    return StorageSettings(data_dir=folder, storage_dir=folder, _env_file=None, **more)


async def test_a_replica_with_a_folder_of_its_own_is_refused_until_the_files_are_there(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await require_same_folder(database, at(tmp_path / "first"))
    await require_same_folder(database, at(tmp_path / "first"))

    with pytest.raises(SystemExit) as refused:
        await require_same_folder(database, at(tmp_path / "second"))
    said = capsys.readouterr().err
    assert refused.value.code == 78
    assert "STORAGE_DIR" in said
    assert not (tmp_path / "second").exists()

    command = said.strip().rpartition(": echo ")[2].split(" > ")  # as the sentence says
    (tmp_path / "second").mkdir()
    await asyncio.to_thread(Path(command[1]).write_text, command[0])
    await require_same_folder(database, at(tmp_path / "second"))


async def test_a_folder_of_another_database_is_refused(database: Database, tmp_path: Path) -> None:
    await require_same_folder(database, at(tmp_path / "first"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MARKER).write_text("0123\n")

    with pytest.raises(SystemExit):
        await require_same_folder(database, at(tmp_path / "other"))


async def test_a_bucket_needs_no_folder_and_a_second_backend_does(database: Database, tmp_path: Path) -> None:
    bucket = {"storage_s3_bucket": "b", "storage_s3_access_key_id": "k", "storage_s3_secret_access_key": "s"}
    await require_same_folder(database, at(tmp_path / "first"))
    await require_same_folder(database, at(tmp_path / "none", storage_mode="s3", **bucket))

    with pytest.raises(SystemExit):
        await require_same_folder(
            database, at(tmp_path / "none", storage_mode="s3", storage_second_mode="local", **bucket)
        )
