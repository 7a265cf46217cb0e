"""Copies a SQLite file before it is migrated, so that whoever regrets an upgrade can go back."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from services.chassis.migrations import MigrationError

FOLDER = "backups"
KEPT = 2  # of each service: the one before this upgrade, and the one before that
TIME = "%Y%m%dT%H%M%SZ"
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def back_up(database: Path, revision: str) -> Path:
    """Copy a database beside itself while others may use it, and forget all but the newest copies; returns the copy.

    It is whole or not there.

    Raises:
        MigrationError: there is no room, or the folder cannot be written; nothing was changed.
    """
    folder = database.parent / FOLDER
    copy = folder / f"{database.stem}-{revision}-{time.strftime(TIME, time.gmtime())}.sqlite3"
    draft = copy.with_suffix(".part")
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        for left in folder.glob(f"{database.stem}-*.part*"):  # by a process that died
            left.unlink()
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
        _copy(database, draft)
        draft.replace(copy)
        _sync(folder)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise MigrationError(
            f"{database} cannot be copied to {folder} before it is migrated: {reason}. It has "
            f"{database.stat().st_size:,} bytes. Nothing was changed; make room and run kawaii migrate again."
        ) from error
    for old in copies_of(database)[:-KEPT]:
        old.unlink()
    return copy


def copies_of(database: Path) -> list[Path]:
    """The copies of a database, the oldest first."""
    found = (database.parent / FOLDER).glob(f"{database.stem}-[0-9]*-*.sqlite3")
    return sorted(found, key=lambda path: path.stem.rpartition("-")[2])


def _copy(database: Path, draft: Path) -> None:
    """Copy as one snapshot: in a single step, which writers of WAL do not disturb."""
    with (
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(draft)) as target,
    ):
        source.backup(target)
    _sync(draft)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
