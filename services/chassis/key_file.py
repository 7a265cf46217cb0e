"""A secret key in a file: made once, readable by the service's user alone, the same after every restart."""

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path

KEY_BYTES = 32  # as long as the HMAC it feeds


def read_or_make_key(path: Path) -> str:
    """Read the text of a key file, or make it; of processes that race to make it one wins and all read the same key.

    Raises:
        OSError: the file cannot be read or made.
        UnicodeDecodeError: the file holds no text.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()
