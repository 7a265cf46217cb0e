"""Keeps objects as files of a local folder: link() makes each appear whole, at once, and for one writer only."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path

from services.chassis import failpoints
from services.chassis.errors import DataLoss
from services.storage.backends.draft import DraftFile, drafted
from services.storage.backends.hashes import Hashes
from services.storage.backends.tree import full, link_file, open_file, remove_file, remove_old, translated, walk
from services.storage.model import UNLABELLED, Label, Listed, Stat
from services.storage.ports import DRAFT_SECONDS, Draft, Ours

CHUNK_BYTES = 256 * 1024  # what gRPC carries best (docs/storage.md#chunks)
DRAFTS = ".drafts"  # a key never begins with a dot, so no reader can name a draft
LIST_BATCH = 500  # keys fetched in one visit to a thread


class LocalFiles:
    """The Backend on a folder whose file system has hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._hashes = Hashes()

    def draft(self) -> AbstractAsyncContextManager[DraftFile]:
        """Open a file in the same file system, so that it can be linked to its key."""
        return drafted(self._root / DRAFTS)

    async def put(self, key: str, draft: Draft, label: Label = UNLABELLED) -> bool:
        """Sync the bytes, then link them to the key; the row is what keeps the label."""
        del label
        if draft.path.parent == self._root / DRAFTS:
            return await asyncio.to_thread(self._put, key, draft)
        async with self._copied(draft) as own:
            return await asyncio.to_thread(self._put, key, own)

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

    async def size(self, key: str) -> int | None:
        """Ask the file system."""
        return await asyncio.to_thread(self._size, key)

    async def stat(self, key: str) -> Stat | None:
        """Read the file once to hash it."""
        return await asyncio.to_thread(self._stat, key)

    async def keys(self, prefix: str, after: str = "") -> AsyncIterator[Listed]:
        """Walk the folders, some hundred files at a time."""
        found = walk(self._root, prefix, after)
        while batch := await asyncio.to_thread(self._batch, found):
            for listed in batch:
                yield listed

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """Our own door takes uploads."""
        del key, content_type, size, seconds
        return ""

    async def delete(self, key: str) -> None:
        """Remove the file."""
        with translated():
            await asyncio.to_thread(remove_file, self._root, key)

    async def reap(self, ours: Ours) -> None:
        """Remove abandoned drafts; their folder is ours alone."""
        del ours
        with translated():
            await asyncio.to_thread(remove_old, self._root, [DRAFTS], time.time() - DRAFT_SECONDS)

    async def path(self, key: str) -> Path | None:
        """Look whether the key is a file that may be sent."""
        return await asyncio.to_thread(self._path, key)

    async def ping(self) -> None:
        """Look whether there is a folder, and room in it."""
        await asyncio.to_thread(self._ping)

    def _ping(self) -> None:
        with translated():
            self._root.mkdir(parents=True, exist_ok=True)
            if not os.statvfs(self._root).f_bavail:
                raise full()

    @asynccontextmanager
    async def _copied(self, draft: Draft) -> AsyncIterator[DraftFile]:
        """A draft of ours with the bytes of one that another backend spooled: a link cannot leave its file system."""
        async with self.draft() as own:
            with translated(), draft.path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    await own.write(chunk)
            yield own

    @staticmethod
    def _batch(found: Iterator[Listed]) -> list[Listed]:
        with translated():
            return list(islice(found, LIST_BATCH))

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

    def _size(self, key: str) -> int | None:
        file = self._open(key)
        if file is None:
            return None
        with translated(), file:
            return os.fstat(file.fileno()).st_size

    def _stat(self, key: str) -> Stat | None:
        file = self._open(key)
        if file is None:
            return None
        with translated(), file:
            return self._hashes.of(file)
