"""Spools incoming bytes to a private file and hashes them on the way, in threads and with bounded memory."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock

from services.storage.backends.tree import translated
from services.storage.ports import HEAD_BYTES


class SpoolFile:
    """A Spool on a file. The lock keeps a cancelled write, still running in its thread, apart from the close."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(16)
        self.size = 0
        self.head = b""
        self._hash = hashlib.sha256()
        self._lock = Lock()
        with translated():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the bytes written so far."""
        return self._hash.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        await asyncio.to_thread(self._write, chunk)
        self.size += len(chunk)
        self.head += chunk[: HEAD_BYTES - len(self.head)]

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with self._lock, translated():
            while rest:  # an unbuffered write may take less than it was given
                rest = rest[self._file.write(rest) :]
        self._hash.update(chunk)

    def discard(self) -> None:
        """Close and remove the file."""
        with self._lock, translated():
            self._file.close()
            self.path.unlink(missing_ok=True)


@asynccontextmanager
async def open_spool(folder: Path) -> AsyncIterator[SpoolFile]:
    """Open a spool file in a folder; leaving the context removes it."""
    spool = await asyncio.to_thread(SpoolFile, folder)
    try:
        yield spool
    finally:
        await asyncio.to_thread(spool.discard)
