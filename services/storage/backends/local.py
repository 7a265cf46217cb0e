"""Keeps objects as files of a local folder; link() makes a complete file visible atomically, for one writer only."""

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
from services.storage.backends.disk import (
    HashCache,
    SpoolFile,
    full,
    link_file,
    open_file,
    open_spool,
    remove_file,
    remove_old,
    translated,
    walk,
)
from services.storage.model import NO_METADATA, ListedObject, ObjectMetadata, Stat
from services.storage.ports import CHUNK_BYTES, SPOOL_SECONDS, Ours, Spool
from services.storage.settings import StorageSettings

SPOOL_FOLDER = ".drafts"  # a key never begins with a dot, so no reader can name a spool file
LIST_BATCH = 500  # keys fetched in one visit to a thread


class LocalFiles:
    """The Backend on a folder whose file system has hard links."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._hashes = HashCache()

    def spool(self) -> AbstractAsyncContextManager[SpoolFile]:
        """Open a spool file in the same file system, so that it can be linked to its key."""
        return open_spool(self._root / SPOOL_FOLDER)

    async def put(self, key: str, spool: Spool, metadata: ObjectMetadata = NO_METADATA) -> bool:
        """Sync the spool file, then link it to the key. The metadata is kept in the row only."""
        del metadata
        if spool.path.parent == self._root / SPOOL_FOLDER:
            return await asyncio.to_thread(self._put, key, spool)
        async with self._copied(spool) as own:
            return await asyncio.to_thread(self._put, key, own)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read the file in pieces, each in a thread."""
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
        """The size that the file system reports."""
        return await asyncio.to_thread(self._size, key)

    async def stat(self, key: str) -> Stat | None:
        """Hash the file, unless its hash is cached."""
        return await asyncio.to_thread(self._stat, key)

    async def keys(self, prefix: str, after: str = "") -> AsyncIterator[ListedObject]:
        """List the folders, some hundred files at a time."""
        found = walk(self._root, prefix, after)
        while batch := await asyncio.to_thread(self._batch, found):
            for listed in batch:
                yield listed

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """Empty: clients upload to our own listener."""
        del key, content_type, size, seconds
        return ""

    async def delete(self, key: str) -> None:
        """Remove the file."""
        with translated():
            await asyncio.to_thread(remove_file, self._root, key)

    async def reap(self, ours: Ours) -> None:
        """Remove abandoned spool files; nobody else writes to their folder."""
        del ours
        with translated():
            await asyncio.to_thread(remove_old, self._root, [SPOOL_FOLDER], time.time() - SPOOL_SECONDS)

    async def path(self, key: str) -> Path | None:
        """The path of the key's file; None when it is no regular file."""
        return await asyncio.to_thread(self._path, key)

    async def ping(self) -> None:
        """Check that the folder exists and that its disk is not full."""
        await asyncio.to_thread(self._ping)

    def _ping(self) -> None:
        with translated():
            self._root.mkdir(parents=True, exist_ok=True)
            if not os.statvfs(self._root).f_bavail:
                raise full()

    @asynccontextmanager
    async def _copied(self, spool: Spool) -> AsyncIterator[SpoolFile]:
        """Copy the spool file of another backend into ours: a link cannot leave its file system."""
        async with self.spool() as own:
            with translated(), spool.path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    await own.write(chunk)
            yield own

    @staticmethod
    def _batch(found: Iterator[ListedObject]) -> list[ListedObject]:
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

    def _put(self, key: str, spool: Spool) -> bool:
        with translated():
            with spool.path.open("rb") as file:
                os.fsync(file.fileno())
            failpoints.reach_in_thread("put.tmp_synced")
            taken = not link_file(self._root, key, spool.path)
            failpoints.reach_in_thread("put.linked")
        return not taken or self._stat(key) == Stat(spool.size, spool.sha256)

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


@asynccontextmanager
async def open_folder(settings: StorageSettings) -> AsyncIterator[LocalFiles]:
    """The folder of the settings; nothing has to be opened."""
    yield LocalFiles(settings.objects_dir)
