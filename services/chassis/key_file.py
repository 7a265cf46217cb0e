"""A secret key in a file: made once, readable by the service's user alone, the same after every restart."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

KEY_BYTES = 32  # as long as the HMAC it feeds


def read_or_make_key(path: Path) -> bytes:
    """Read the key of a file, or make it; of processes that race to make it one wins and all read the same key."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
