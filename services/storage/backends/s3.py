"""Keeps objects in a bucket of S3 or R2.

boto3 blocks, so that its calls run in threads of their own. Files are spooled to the local disk on their way. Create if
absent is best effort on some servers (docs/storage.md#backends): a key is looked up before and after each put.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import Counter

from services.chassis import failpoints
from services.chassis.errors import DataLoss, KawaiiError, Unavailable
from services.storage.backends import disk
from services.storage.backends.disk import HashCache, SpoolFile, open_spool
from services.storage.model import NO_METADATA, ListedObject, ObjectMetadata, Stat
from services.storage.ports import CHUNK_BYTES, SPOOL_SECONDS, Ours, Spool
from services.storage.settings import StorageSettings

CACHE_CONTROL = "public, max-age=31536000, immutable"  # objects never change
SHA256 = "sha256"  # the name of our hash in the metadata of an object
CONFLICTS = 6  # tries while another writer holds the key: S3 answers 409 until that one is done
CONFLICT_SECONDS = 0.2  # the longest first pause between two tries; it doubles each time
ABSENT = frozenset({"NoSuchKey", "NotFound", "404"})  # NoSuchBucket is a mistake, which a HEAD does not show
COMPLETED = "NoSuchUpload"  # of parts that we have just sent: the first reply to their completion was lost
FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"})
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
REFUSED_SECONDS = 30.0  # rights do not come back by themselves; an operator has to act
FINGERPRINT_LENGTH = 8  # hex digits that tell access keys apart in logs and metrics
NEVER = float("-inf")
PING_SECONDS = 30.0  # a listing costs money: its result is reused for so long
FAILURES = Counter(
    "kawaii_object_backend_failures_total",
    "Requests to the bucket that failed for good; refused names the key by its fingerprint.",
    ("cause", "key"),
)
R = TypeVar("R")
Part = dict[str, Any]

logger = structlog.get_logger()


class S3Objects:
    """The Backend on a bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = _Bucket(settings)
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
        """The size in the reply to a HEAD."""
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
        with disk.translated():
            await asyncio.to_thread(disk.remove_old, self._spool_dir, (), before)

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


def _open_client(settings: StorageSettings) -> Any:
    """A client whose options work on all servers (docs/storage.md#backends), with one layer of retries: its own."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path", "payload_signing_enabled": True},  # the server checks our SHA-256
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=settings.storage_s3_connect_seconds,
        read_timeout=settings.storage_s3_read_seconds,
        max_pool_connections=settings.storage_s3_connections,
        retries={"mode": "standard", "total_max_attempts": settings.storage_s3_attempts},
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.storage_s3_access_key_id.get_secret_value(),
        aws_secret_access_key=settings.storage_s3_secret_access_key.get_secret_value(),
        config=config,
    )


class _Bucket:
    """The blocking operations on a bucket. Each raises the errors that ports.Backend documents."""

    def __init__(self, settings: StorageSettings) -> None:
        key = settings.storage_s3_access_key_id.get_secret_value()
        self._fingerprint = sha256(key.encode()).hexdigest()[:FINGERPRINT_LENGTH]
        self._client = _open_client(settings)
        self._hashes = HashCache()
        self._bucket = {"Bucket": settings.storage_s3_bucket}
        self._multipart_bytes = settings.storage_s3_multipart_bytes
        self._part_bytes = settings.storage_s3_part_bytes

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def put(self, key: str, source: Path, stat: Stat, metadata: ObjectMetadata) -> bool:
        """Create an object from a file; True when the key now holds this content, even if an earlier put wrote it.

        For servers that ignore If-None-Match the key is looked up before and after; the row then decides what it holds.
        """
        with _translated(self._fingerprint):
            if known := self.stat(key):
                return known == stat
            options = {
                "ContentType": metadata.content_type,
                "CacheControl": CACHE_CONTROL,
                "Metadata": _user_metadata(metadata, stat),
            }
            self._create(key, source, stat, options)
            failpoints.reach_in_thread("put.linked")
            found = self.stat(key)
            if found is None:  # written and already gone: deleted meanwhile, or lost by the server
                raise disk.down()
            return found == stat

    def _create(self, key: str, source: Path, stat: Stat, options: Part) -> None:
        """Create the object; when another is there first, it stays."""
        write = self._put_parts if stat.size >= self._multipart_bytes else self._put_whole
        for again in range(CONFLICTS):
            try:
                return write(key, source, options)
            except ClientError as error:
                if _status_of(error) == HTTPStatus.PRECONDITION_FAILED or _code_of(error) == COMPLETED:
                    return None
                if _status_of(error) != HTTPStatus.CONFLICT:
                    raise
            time.sleep(random.uniform(0, CONFLICT_SECONDS * 2**again))  # noqa: S311 - jitter, no secret
        raise disk.down()

    def _put_whole(self, key: str, source: Path, options: Part) -> None:
        with source.open("rb") as file:
            self._client.put_object(**self._bucket, Key=key, Body=file, IfNoneMatch="*", **options)

    def _put_parts(self, key: str, source: Path, options: Part) -> None:
        """Upload equal parts, as R2 requires; an upload that fails is aborted."""
        upload = self._client.create_multipart_upload(**self._bucket, Key=key, **options)
        names = self._bucket | {"Key": key, "UploadId": upload["UploadId"]}
        try:
            with source.open("rb") as file:
                parts = [self._put_part(names, number, part) for number, part in enumerate(self._cut(file), 1)]
            self._client.complete_multipart_upload(**names, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            with suppress(ClientError, BotoCoreError):  # the first error is raised; reap() aborts what is left
                self._client.abort_multipart_upload(**names)
            raise

    def _cut(self, file: BinaryIO) -> Iterator[bytes]:
        while part := file.read(self._part_bytes):
            yield part

    def _put_part(self, names: Part, number: int, body: bytes) -> Part:
        answer = self._client.upload_part(**names, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def get(self, key: str, offset: int, limit: int) -> Any:
        """Open the bytes from an offset, as a file to read; None when nothing is there to read."""
        wanted = {"Range": f"bytes={offset}-{offset + limit - 1 if limit else ''}"} if offset or limit else {}
        with _translated(self._fingerprint):
            try:
                return self._client.get_object(**self._bucket, Key=key, **wanted)["Body"]
            except ClientError as error:
                if _code_of(error) in ABSENT or _status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return None
                raise

    def chunk(self, body: Any) -> bytes:
        """The next bytes of an opened object; empty at its end."""
        with _translated(self._fingerprint):
            return bytes(body.read(CHUNK_BYTES))

    def head(self, key: str) -> Part | None:
        """The HEAD of an object; None when there is none."""
        with _translated(self._fingerprint):
            try:
                return dict(self._client.head_object(**self._bucket, Key=key))
            except ClientError as error:
                if _code_of(error) in ABSENT:
                    return None
                raise

    def stat(self, key: str) -> Stat | None:
        """Size and hash of an object. One without our hash in its metadata is read whole, once per ETag."""
        head = self.head(key)
        if head is None:
            return None
        size = int(head["ContentLength"])
        if known := head["Metadata"].get(SHA256):
            return Stat(size, known)
        identity = (key, size, head.get("ETag"), head.get("LastModified"))
        return self._hashes.known(identity, lambda: Stat(size, self._hashed(key)))

    def _hashed(self, key: str) -> str:
        digest = sha256()
        if body := self.get(key, 0, 0):
            with body:
                while chunk := self.chunk(body):
                    digest.update(chunk)
        return digest.hexdigest()

    def page(self, prefix: str, after: str) -> list[ListedObject]:
        """List at most a thousand keys after a given one, in order; empty at the end."""
        with _translated(self._fingerprint):
            answer = self._client.list_objects_v2(**self._bucket, Prefix=prefix, StartAfter=after)
        return [
            ListedObject(row["Key"], row["Size"], row["LastModified"].timestamp()) for row in answer.get("Contents", ())
        ]

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with _translated(self._fingerprint):
            self._client.delete_object(**self._bucket, Key=key)

    def old_uploads(self, before: float) -> list[tuple[str, str]]:
        """Key and id of all multipart uploads in the bucket that began before a time, in seconds since 1970."""
        with _translated(self._fingerprint):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(**self._bucket)
            rows = [row for page in pages for row in page.get("Uploads", ())]
        return [(row["Key"], row["UploadId"]) for row in rows if row["Initiated"].timestamp() < before]

    def abort(self, key: str, upload_id: str) -> None:
        """Abort one multipart upload; one that has ended is ignored."""
        with _translated(self._fingerprint):
            try:
                self._client.abort_multipart_upload(**self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if _code_of(error) != COMPLETED:  # ended meanwhile
                    raise

    def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """A signed URL for one PUT of that type and exactly that size."""
        wanted = self._bucket | {"Key": key, "ContentType": content_type, "ContentLength": size}
        return str(self._client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=seconds))

    def ping(self) -> None:
        """Make the cheapest request that needs the rights of reading."""
        with _translated(self._fingerprint):
            self._client.list_objects_v2(**self._bucket, MaxKeys=1)


def _user_metadata(metadata: ObjectMetadata, stat: Stat) -> dict[str, str]:
    """The metadata, which holds no personal data, and the hash by which a repeated put is recognised."""
    fields = {
        "uploadedAt": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "fileSize": str(stat.size),
        "source": metadata.source,
        SHA256: stat.sha256,
    }
    return {name: value for name, value in fields.items() if value}


def _status_of(error: ClientError) -> int:
    """The HTTP status of an answer that is an error."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code_of(error: ClientError) -> str:
    """The error code that S3 gave."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _translated(fingerprint: str) -> Iterator[None]:
    """Translate errors of the client. The log names the access key by its fingerprint only."""
    try:
        yield
    except ClientError as error:
        raise _failure(error, fingerprint) from error
    except (BotoCoreError, OSError) as error:
        FAILURES.labels("unreachable", fingerprint).inc()
        logger.warning("bucket_unreachable", cause=type(error).__name__)
        raise disk.down() from error


def _failure(error: ClientError, fingerprint: str) -> KawaiiError:
    code, status = _code_of(error), _status_of(error)
    if code in FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        FAILURES.labels("full", fingerprint).inc()
        return disk.full()
    cause = "refused" if status in REFUSED else "failed"
    FAILURES.labels(cause, fingerprint).inc()
    logger.error("bucket_error", cause=cause, code=code, status=status, key=fingerprint, operation=error.operation_name)
    return disk.down(REFUSED_SECONDS) if cause == "refused" else disk.down()
