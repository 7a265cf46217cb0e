"""Keeps objects as files of a local folder: link() makes each appear whole, at once, and for one writer only."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BufferedReader
from pathlib import Path

from services.chassis import failpoints
from services.chassis.errors import DataLoss
from services.storage.backends.draft import DraftFile
from services.storage.backends.tree import link_file, open_file, remove_file, remove_old, translated
from services.storage.model import Stat
from services.storage.ports import DRAFT_SECONDS, Draft

CHUNK_BYTES = 256 * 1024  # what gRPC carries best, performance.md 4
DRAFTS = ".drafts"  # a key never begins with a dot, so no reader can name a draft


class LocalFiles:
    """The Backend and the PublicFolder on a folder whose file system has hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @asynccontextmanager
    async def draft(self) -> AsyncIterator[DraftFile]:
        """Open a file in the same file system, so that it can be linked to its key."""
        draft = await asyncio.to_thread(DraftFile, self._root / DRAFTS)
        try:
            yield draft
        finally:
            await asyncio.to_thread(draft.discard)

    async def put(self, key: str, draft: Draft) -> bool:
        """Sync the bytes, then link them to the key."""
        return await asyncio.to_thread(self._put, key, draft)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read in pieces, each in a thread."""
        file = await asyncio.to_thread(self._open, key)
        if file is None:
            raise DataLoss("The file of this object is gone. Tell the operator.", metadata={"key": key})
        with translated(), file:
            file.seek(offset)
            rest = limit or os.fstat(file.fileno()).st_size
            while rest > 0 and (chunk := await asyncio.to_thread(file.read, min(rest, CHUNK_BYTES))):
                rest -= len(chunk)
                yield chunk

    async def stat(self, key: str) -> Stat | None:
        """Read the file once to hash it."""
        return await asyncio.to_thread(self._stat, key)

    async def delete(self, key: str) -> None:
        """Remove the file."""
        with translated():
            await asyncio.to_thread(remove_file, self._root, key)

    async def reap(self, prefix: str, age_seconds: float) -> None:
        """Remove what was abandoned, drafts and objects under the prefix."""
        now = time.time()
        with translated():
            await asyncio.to_thread(remove_old, self._root, [prefix], now - age_seconds)
            await asyncio.to_thread(remove_old, self._root, [DRAFTS], now - DRAFT_SECONDS)

    async def path(self, key: str) -> Path | None:
        """Look whether the key is a file that may be sent."""
        return await asyncio.to_thread(self._path, key)

    def _path(self, key: str) -> Path | None:
        file = self._open(key)
        if file is None:
            return None
        file.close()
        return self._root / key

    def _open(self, key: str) -> BufferedReader | None:
        with translated():
            return open_file(self._root, key)

    def _put(self, key: str, draft: Draft) -> bool:
        with translated():
            with draft.path.open("rb") as file:
                os.fsync(file.fileno())
            failpoints.reach_in_thread("put.tmp_synced")
            taken = not link_file(self._root, key, draft.path)
            failpoints.reach_in_thread("put.linked")
        return not taken or self._stat(key) == Stat(draft.size, draft.sha256)

    def _stat(self, key: str) -> Stat | None:
        file = self._open(key)
        if file is None:
            return None
        with translated(), file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Stat(file.tell(), digest)
