"""Keeps the password of the embedded Valkey: made once, in a file below DATA_DIR that only its owner may read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from deploy.launcher.errors import LaunchError

FILE = "valkey-password"
BYTES = 32


def password(data_dir: Path) -> str:
    """The password, made when there is none; two who make it at the same time get the same one.

    Raises:
        LaunchError: the file cannot be written or read.
    """
    file = data_dir / FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise LaunchError(f"The password of Valkey cannot be kept: {error.filename}: {error.strerror}.") from None


def _make(file: Path) -> None:
    """Write a whole file under another name first, so that nobody reads half of it; the first link wins."""
    draft = file.with_name(f"{FILE}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(f"{secrets.token_urlsafe(BYTES)}\n", encoding="ascii")
    with suppress(FileExistsError):
        file.hardlink_to(draft)
    draft.unlink()
