"""The identity of the local backend's folder: an id in a file of the folder, and the same id in the database.

Replicas that each had a folder of their own would not find each other's files; nor would a process whose disk is not
mounted. Either has another id than the database, or none, and does not start.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from services.chassis.agreements import agree, agreed
from services.chassis.database import Database
from services.chassis.settings import refuse
from services.storage.settings import StorageSettings
from services.storage.stores.sql import AGREEMENT

MARKER = ".kawaii-folder"  # a key never begins with a dot, so nobody can read or list it
NAME = "objects_folder"
ID_BYTES = 16


async def require_same_folder(database: Database, settings: StorageSettings) -> None:
    """Compare the folder with that of the database; the first process to start with a folder marks it.

    Raises:
        SystemExit: the folder is another one.
        Unavailable: the database is away.
    """
    if "local" not in (settings.storage_mode, settings.storage_second_mode):
        return
    marker = settings.objects_dir.absolute() / MARKER
    known = await database.read(agreed, AGREEMENT, NAME)
    try:
        own = _read(marker) or ("" if known else _make(marker))
    except OSError as error:
        refuse(f"STORAGE_DIR cannot be used: {error.filename}: {error.strerror}.")
    if own and not known:
        known = await database.write(agree, AGREEMENT, NAME, own)
    if own != known:
        refuse(
            f"STORAGE_DIR {settings.objects_dir} is not the folder in which this database's files lie: it is not "
            "mounted, or another replica has a folder of its own. Replicas need STORAGE_MODE=s3, or one folder that "
            f"all of them reach. If the files were moved here, say so: echo {known} > {marker}"
        )


def _read(marker: Path) -> str:
    return marker.read_text(encoding="ascii", errors="replace").strip() if marker.exists() else ""


def _make(marker: Path) -> str:
    """Mark the folder; of processes that race one wins."""
    marker.parent.mkdir(parents=True, exist_ok=True)
    draft = marker.with_name(f"{MARKER}.{secrets.token_hex(8)}")
    with draft.open("x", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(ID_BYTES)}\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, marker)
    draft.unlink()
    return _read(marker)
