"""One bucket of an S3 or R2 server: blocking, atomic operations, to be called from threads."""

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.chassis import failpoints
from services.storage.backends.bucket_errors import code_of, status_of, translated
from services.storage.backends.hash_cache import HashCache
from services.storage.backends.object_metadata import SHA256, user_metadata
from services.storage.backends.tree import down
from services.storage.model import ListedObject, ObjectMetadata, Stat
from services.storage.settings import StorageSettings

CHUNK_BYTES = 256 * 1024  # what gRPC carries best (docs/storage.md#chunks)
CACHE_CONTROL = "public, max-age=31536000, immutable"  # objects never change
CONFLICTS = 6  # tries while another writer holds the key: S3 answers 409 until that one is done
CONFLICT_SECONDS = 0.2
ABSENT = frozenset({"NoSuchKey", "NotFound", "404"})  # NoSuchBucket is a mistake, which a HEAD cannot tell
COMPLETED = "NoSuchUpload"  # of parts that we have just sent: the first reply to their completion was lost
FINGERPRINT_LENGTH = 8
Part = dict[str, Any]


def open_client(settings: StorageSettings) -> Any:
    """A client with the options that behaved everywhere (docs/storage.md#places), and one layer of retries: its own."""
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


class Bucket:
    """The operations on a bucket. Each raises the errors that ports.Backend documents."""

    def __init__(self, settings: StorageSettings) -> None:
        key = settings.storage_s3_access_key_id.get_secret_value()
        self._fingerprint = sha256(key.encode()).hexdigest()[:FINGERPRINT_LENGTH]
        self._client = open_client(settings)
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
        with translated(self._fingerprint):
            if known := self.stat(key):
                return known == stat
            options = {
                "ContentType": metadata.content_type,
                "CacheControl": CACHE_CONTROL,
                "Metadata": user_metadata(metadata, stat),
            }
            self._create(key, source, stat, options)
            failpoints.reach_in_thread("put.linked")
            found = self.stat(key)
            if found is None:  # written and already gone: deleted meanwhile, or lost by the server
                raise down()
            return found == stat

    def _create(self, key: str, source: Path, stat: Stat, options: Part) -> None:
        """Create the object; when another is there first, it stays."""
        write = self._put_parts if stat.size >= self._multipart_bytes else self._put_whole
        for again in range(CONFLICTS):
            try:
                return write(key, source, options)
            except ClientError as error:
                if status_of(error) == HTTPStatus.PRECONDITION_FAILED or code_of(error) == COMPLETED:
                    return None
                if status_of(error) != HTTPStatus.CONFLICT:
                    raise
            time.sleep(random.uniform(0, CONFLICT_SECONDS * 2**again))  # noqa: S311 - jitter, no secret
        raise down()

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
        with translated(self._fingerprint):
            try:
                return self._client.get_object(**self._bucket, Key=key, **wanted)["Body"]
            except ClientError as error:
                if code_of(error) in ABSENT or status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return None
                raise

    def chunk(self, body: Any) -> bytes:
        """The next bytes of an opened object; empty at its end."""
        with translated(self._fingerprint):
            return bytes(body.read(CHUNK_BYTES))

    def head(self, key: str) -> Part | None:
        """The HEAD of an object; None when there is none."""
        with translated(self._fingerprint):
            try:
                return dict(self._client.head_object(**self._bucket, Key=key))
            except ClientError as error:
                if code_of(error) in ABSENT:
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
        with translated(self._fingerprint):
            answer = self._client.list_objects_v2(**self._bucket, Prefix=prefix, StartAfter=after)
        return [
            ListedObject(row["Key"], row["Size"], row["LastModified"].timestamp()) for row in answer.get("Contents", ())
        ]

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        with translated(self._fingerprint):
            self._client.delete_object(**self._bucket, Key=key)

    def old_uploads(self, before: float) -> list[tuple[str, str]]:
        """Key and id of all multipart uploads in the bucket that began before a time, in seconds since 1970."""
        with translated(self._fingerprint):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(**self._bucket)
            rows = [row for page in pages for row in page.get("Uploads", ())]
        return [(row["Key"], row["UploadId"]) for row in rows if row["Initiated"].timestamp() < before]

    def abort(self, key: str, upload_id: str) -> None:
        """Abort one multipart upload; one that has ended is ignored."""
        with translated(self._fingerprint):
            try:
                self._client.abort_multipart_upload(**self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if code_of(error) != COMPLETED:  # ended meanwhile
                    raise

    def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """A signed URL for one PUT of that type and exactly that size."""
        wanted = self._bucket | {"Key": key, "ContentType": content_type, "ContentLength": size}
        return str(self._client.generate_presigned_url("put_object", Params=wanted, ExpiresIn=seconds))

    def ping(self) -> None:
        """Make the cheapest request that needs the rights of reading."""
        with translated(self._fingerprint):
            self._client.list_objects_v2(**self._bucket, MaxKeys=1)
