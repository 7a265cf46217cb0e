"""Keeps objects in a bucket of S3 or R2: blocking calls run in threads of their own, spool files are local."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from services.chassis.errors import DataLoss, Unavailable
from services.storage.backends import tree
from services.storage.backends.bucket import Bucket
from services.storage.backends.spool import SpoolFile, open_spool
from services.storage.model import NO_METADATA, ListedObject, ObjectMetadata, Stat
from services.storage.ports import SPOOL_SECONDS, Ours, Spool
from services.storage.settings import StorageSettings

NEVER = float("-inf")
PING_SECONDS = 30.0  # a listing costs money: its result is reused for so long
R = TypeVar("R")


class S3Objects:
    """The Backend on a bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = Bucket(settings)
        self._spool_dir = settings.spool_dir.absolute()
        self._direct = settings.storage_s3_direct_uploads
        self._threads = ThreadPoolExecutor(settings.storage_s3_connections, "s3")
        self._worked = NEVER
        self._pinging: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Wait for running calls, then close the connections."""
        self._threads.shutdown()
        self._bucket.close()

    def spool(self) -> AbstractAsyncContextManager[SpoolFile]:
        """Spool to local disk: a put must know its hash before it begins."""
        return open_spool(self._spool_dir)

    async def put(self, key: str, spool: Spool, metadata: ObjectMetadata = NO_METADATA) -> bool:
        """Create the object if the key is free."""
        stat = Stat(spool.size, spool.sha256)
        return await self._run(self._bucket.put, key, spool.path, stat, metadata)

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Read in pieces, each in a thread."""
        body = await self._run(self._bucket.get, key, offset, limit)
        if body is None:
            await self._require(key)
            return
        try:
            while chunk := await self._run(self._bucket.chunk, body):
                yield chunk
        finally:
            body.close()

    async def size(self, key: str) -> int | None:
        """The size that a HEAD tells."""
        head = await self._run(self._bucket.head, key)
        return None if head is None else int(head["ContentLength"])

    async def stat(self, key: str) -> Stat | None:
        """Size and hash from a HEAD, whose metadata holds the hash of every object that we put."""
        return await self._run(self._bucket.stat, key)

    async def path(self, key: str) -> Path | None:
        """None: no object of a bucket is a local file."""
        del key
        return None

    async def keys(self, prefix: str, after: str = "") -> AsyncIterator[ListedObject]:
        """List page by page."""
        while page := await self._run(self._bucket.page, prefix, after):
            after = page[-1].key
            for listed in page:
                yield listed

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """Sign a URL of the bucket, unless browsers cannot reach it."""
        return self._bucket.upload_uri(key, content_type, size, seconds) if self._direct else ""

    async def delete(self, key: str) -> None:
        """Remove the object."""
        await self._run(self._bucket.delete, key)

    async def reap(self, ours: Ours) -> None:
        """Abort abandoned multipart uploads and remove abandoned spool files."""
        before = time.time() - SPOOL_SECONDS
        await self.abort_abandoned(before, ours)
        with tree.translated():
            await asyncio.to_thread(tree.remove_old, self._spool_dir, (), before)

    async def abort_abandoned(self, before: float, ours: Ours) -> None:
        """Abort multipart uploads of ours that began before a time, in seconds since 1970."""
        for key, upload_id in await self._run(self._bucket.old_uploads, before):
            if await ours(key):
                await self._run(self._bucket.abort, key, upload_id)

    async def ping(self) -> None:
        """Return at once if a call succeeded lately; else list the bucket."""
        if time.monotonic() - self._worked < PING_SECONDS:
            return
        if self._pinging is None:  # one at a time: a server that hangs must not occupy all threads
            self._pinging = asyncio.ensure_future(self._run(self._bucket.ping))
            self._pinging.add_done_callback(self._pinged)
        await asyncio.shield(self._pinging)

    def _pinged(self, done: "asyncio.Future[None]") -> None:
        self._pinging = None
        if not done.cancelled():
            done.exception()  # marks the exception as retrieved: perhaps nobody waits any more

    async def _require(self, key: str) -> None:
        """Raise DataLoss when there is no such object; an empty range of an existing one is fine."""
        if await self.size(key) is None:
            raise DataLoss("The object's bytes are gone from the bucket. Tell the operator.", metadata={"key": key})

    async def _run(self, work: Callable[..., R], *args: Any) -> R:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except Unavailable:
            self._worked = NEVER
            raise
        self._worked = time.monotonic()
        return result


@asynccontextmanager
async def open_bucket(settings: StorageSettings) -> AsyncIterator[S3Objects]:
    """Open the bucket for the life of the process."""
    objects = await asyncio.to_thread(S3Objects, settings)
    try:
        yield objects
    finally:
        await asyncio.to_thread(objects.close)
