"""What only a bucket can suffer: replies that are lost, rights that are taken, servers that promise less than S3."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from botocore.awsrequest import AWSResponse
from prometheus_client import REGISTRY

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.backends import s3
from services.storage.backends.s3 import S3Objects, open_bucket
from services.storage.core.registration import register
from services.storage.model import ObjectMetadata, Stat, StoredObject
from services.storage.ports import SPOOL_SECONDS
from services.storage.settings import StorageSettings
from tests.chaos.proxy import CHUNK_BYTES, Call, ToxicProxy
from tests.storage.buckets import in_bucket
from tests.storage.samples import picture
from tests.support.awaited import Awaited
from tests.support.s3 import S3Server

MIB = 1024 * 1024
KEY = "generated/gen_a/0.png"


class LossyCall(Call):
    """A connection that loses the first reply to a PUT: the server has done it, and no client knows."""

    def allowance(self, *, back: bool) -> int:
        """Nothing passes back once the PUT has gone through."""
        return 0 if back and self.request.count(b"PUT /") else CHUNK_BYTES


class LossyProxy(ToxicProxy):
    """Loses one reply to a PUT, then none."""

    def _draw(self) -> Call:
        lost = any(call.short for call in self.calls)
        return Call("", 0) if lost else LossyCall("", 0)


@asynccontextmanager
async def behind(proxy: ToxicProxy) -> AsyncIterator[ToxicProxy]:
    await proxy.up()
    try:
        yield proxy
    finally:
        await proxy.close()


@asynccontextmanager
async def bucket(settings: StorageSettings, server: S3Server, **more: Any) -> AsyncIterator[S3Objects]:
    quick = {"storage_s3_connect_seconds": 1.0, "storage_s3_read_seconds": 2.0, "storage_s3_attempts": 2}
    async with open_bucket(in_bucket(settings, server, **quick | more)) as objects:
        yield objects


async def put(objects: S3Objects, body: bytes, key: str = KEY, metadata: ObjectMetadata | None = None) -> bool:
    async with objects.spool() as spool:
        for start in range(0, len(body), MIB):
            await spool.write(body[start : start + MIB])
        return await objects.put(key, spool, metadata or ObjectMetadata("image/png"))


async def content(objects: S3Objects, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key, 0, 0)])


def needs_ceph(server: S3Server) -> None:
    if server.kind != "ceph":
        pytest.skip("Debian's Ceph is missing; its stand-in checks no rights and no times")


def head_of(objects: S3Objects, key: str = KEY) -> dict[str, Any]:
    """The HEAD of an object, from the server itself."""
    head = objects._bucket.head(key)
    assert head is not None
    return head


async def test_the_metadata_of_an_object_holds_nothing_of_people(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    stored = StoredObject(
        key=KEY,
        content_type="image/png",
        size=2000,
        sha256="",
        source="kie-download",
        generation_id="gen_a",
        index=0,
        original_name="me at home.png",
        source_uri="https://x.example/secret?token=b",
    )
    async with bucket(settings, s3_server) as objects:
        await put(objects, picture(), metadata=stored.metadata)
        head = head_of(objects)

    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    assert head["ContentType"] == "image/png"
    assert head["CacheControl"] == "public, max-age=31536000, immutable"
    assert set(metadata) == {"source", "filesize", "uploadedat", "sha256"}
    assert (metadata["source"], metadata["filesize"]) == ("kie-download", "2000")
    assert metadata["uploadedat"].endswith("+00:00")
    assert len(metadata["sha256"]) == 64


async def test_a_lost_reply_is_recognised_as_success(settings: StorageSettings, s3_server: S3Server) -> None:
    async with behind(LossyProxy(s3_server.port, "", {})) as proxy:
        through = replace(s3_server, port=proxy.port)
        async with bucket(settings, s3_server, storage_s3_endpoint=through.endpoint) as objects:
            assert await put(objects, picture())
            assert any(call.short for call in proxy.calls)
            assert await content(objects) == picture()


async def test_a_server_that_is_down_is_an_error_until_it_works(settings: StorageSettings, s3_server: S3Server) -> None:
    async with behind(ToxicProxy(s3_server.port, "", {})) as proxy:
        through = replace(s3_server, port=proxy.port)
        async with bucket(settings, s3_server, storage_s3_endpoint=through.endpoint) as objects:
            assert await put(objects, picture(), "uploads/a.png")
            await objects.ping()
            await proxy.close()
            for attempt in (
                put(objects, picture()),
                content(objects),
                objects.stat(KEY),
                objects.delete(KEY),
                objects.ping(),
            ):
                with pytest.raises(Unavailable) as failure:
                    await attempt
                assert failure.value.reason == "STORAGE_DOWN"
                assert failure.value.retry_after
            await proxy.up()

            await objects.ping()
            assert await put(objects, picture())
            assert await content(objects, "uploads/a.png") == picture()
            assert not any(settings.spool_dir.iterdir())


class Said(BytesIO):
    """The body of an answer, as the client's transport hands it out."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def answering(objects: S3Objects, status: int, code: str, times: int, operation: str = "PutObject") -> None:
    """Let the server answer so many requests of an operation with an error of S3's."""
    answers = [f"<Error><Code>{code}</Code></Error>".encode()] * times

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        return AWSResponse(request.url, status, {}, Said(answers.pop())) if answers else None

    objects._bucket._client.meta.events.register(f"before-send.s3.{operation}", answer)


@pytest.mark.parametrize(("status", "code"), [(409, "ConditionalRequestConflict"), (503, "SlowDown"), (500, "Oops")])
async def test_an_answer_to_try_later_is_followed_by_another_try(
    settings: StorageSettings, s3_server: S3Server, status: int, code: str
) -> None:
    async with bucket(settings, s3_server) as objects:
        answering(objects, status, code, times=1)

        assert await put(objects, picture())
        assert await content(objects) == picture()


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (409, "ConditionalRequestConflict", "STORAGE_DOWN"),
        (503, "SlowDown", "STORAGE_DOWN"),
        (403, "QuotaExceeded", "STORAGE_FULL"),
        (507, "InsufficientStorage", "STORAGE_FULL"),
    ],
)
async def test_an_error_that_stays_is_raised(
    settings: StorageSettings, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, status: int, code: str, reason: str
) -> None:
    monkeypatch.setattr(s3, "CONFLICT_SECONDS", 0.001)
    async with bucket(settings, s3_server) as objects:
        answering(objects, status, code, times=20)
        with pytest.raises(KawaiiError) as failure:
            await put(objects, picture())

        assert failure.value.reason == reason
        assert await objects.size(KEY) is None


async def test_a_reply_that_is_cut_is_no_whole_object(settings: StorageSettings, s3_server: S3Server) -> None:
    async with behind(ToxicProxy(s3_server.port, "", {})) as proxy:
        through = replace(s3_server, port=proxy.port)
        async with bucket(settings, s3_server, storage_s3_endpoint=through.endpoint) as objects:
            await put(objects, picture(size=4 * MIB))
            pieces = objects.read(KEY, 0, 0)
            assert await anext(pieces)
            await proxy.close()

            with pytest.raises(Unavailable):
                [piece async for piece in pieces]


async def test_a_refused_key_is_named_by_its_fingerprint_only(settings: StorageSettings, s3_server: S3Server) -> None:
    needs_ceph(s3_server)
    name, access, secret = (f"u{secrets.token_hex(8)}" for _ in range(3))
    keys = (f"--access-key={access}", f"--secret-key={secret}")
    s3_server.admin("user", "create", f"--uid={name}", f"--display-name={name}", *keys)
    theirs = replace(s3_server, access_key=access, secret_key=secret)
    async with bucket(settings, theirs) as objects:
        assert await put(objects, picture())
        s3_server.admin("user", "suspend", f"--uid={name}")
        with structlog.testing.capture_logs() as lines, pytest.raises(Unavailable) as failure:
            await content(objects)
        fingerprint = objects._bucket._fingerprint
        s3_server.admin("user", "enable", f"--uid={name}")

        assert await content(objects) == picture()
    assert (failure.value.reason, failure.value.retry_after) == ("STORAGE_DOWN", 30)
    assert [(line["cause"], line["key"]) for line in lines] == [("refused", fingerprint)]
    assert access not in str(lines)
    assert secret not in str(lines)
    labels = {"cause": "refused", "key": fingerprint}
    assert REGISTRY.get_sample_value("kawaii_object_backend_failures_total", labels) == 1


async def test_a_bucket_that_does_not_exist_is_a_fault_and_no_empty_bucket(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    async with bucket(settings, s3_server, storage_s3_bucket="nowhere") as objects:
        for question in (objects.ping(), put(objects, picture())):
            with pytest.raises(Unavailable):
                await question


async def test_an_upload_link_takes_nothing_but_what_was_declared(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    needs_ceph(s3_server)
    async with bucket(settings, s3_server) as objects, httpx.AsyncClient(trust_env=False) as anyone:
        uri = await objects.upload_uri("pending/a.png", "image/png", 2000, 60)
        attempts = [
            (uri, 2001, "image/png"),
            (uri, 2000, "text/html"),
            (uri.replace("pending", "uploads"), 2000, "image/png"),
        ]
        for target, size, kind in attempts:
            answer = await anyone.put(target, content=picture(size=size), headers={"Content-Type": kind})
            assert answer.status_code == 403

        assert [listed async for listed in objects.keys("")] == []


PARTS = {"storage_s3_multipart_bytes": 1, "storage_s3_part_bytes": 5 * MIB}


def unfinished(objects: S3Objects) -> list[Any]:
    inner = objects._bucket
    return list(inner._client.list_multipart_uploads(**inner._bucket).get("Uploads", ()))


async def test_a_large_file_goes_in_parts_and_is_as_safe(settings: StorageSettings, s3_server: S3Server) -> None:
    body = picture(size=12 * MIB)
    async with bucket(settings, s3_server, **PARTS) as objects:
        assert await put(objects, body)
        assert await put(objects, body)
        assert not await put(objects, picture("gif", size=6 * MIB))
        assert await content(objects) == body
        assert head_of(objects)["ContentType"] == "image/png"
        assert unfinished(objects) == []


async def test_parts_that_cannot_be_finished_are_taken_back(settings: StorageSettings, s3_server: S3Server) -> None:
    async with bucket(settings, s3_server, **PARTS) as objects:

        def interrupt(**_: Any) -> None:
            raise OSError("the line broke")

        objects._bucket._client.meta.events.register("before-send.s3.CompleteMultipartUpload", interrupt)
        with pytest.raises(Unavailable):
            await put(objects, picture(size=6 * MIB))

        assert unfinished(objects) == []
        assert await objects.size(KEY) is None


async def test_parts_whose_end_meets_a_conflict_are_sent_once_more(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    body = picture(size=6 * MIB)
    async with bucket(settings, s3_server, **PARTS) as objects:
        answering(objects, 409, "ConditionalRequestConflict", times=1, operation="CompleteMultipartUpload")

        assert await put(objects, body)
        assert await content(objects) == body
        assert unfinished(objects) == []


async def test_parts_of_a_dead_process_are_reaped_when_they_are_old(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    needs_ceph(s3_server)
    async with bucket(settings, s3_server) as objects:
        inner = objects._bucket
        for key in (KEY, "backups/of-others.tar", "generated/of-an-older-site.png"):
            inner._client.create_multipart_upload(**inner._bucket, Key=key)

        async def ours(key: str) -> bool:
            return key == KEY

        await objects.reap(ours)
        assert len(unfinished(objects)) == 3

        await objects.abort_abandoned(time.time() + SPOOL_SECONDS, ours)
        assert {upload["Key"] for upload in unfinished(objects)} == {
            "backups/of-others.tar",
            "generated/of-an-older-site.png",
        }


async def test_what_another_program_brought_without_a_hash_is_read_once_while_it_stays_the_same(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    async with bucket(settings, s3_server) as objects:
        inner, reads = objects._bucket, list[str]()
        inner._client.meta.events.register("before-send.s3.GetObject", lambda request, **_: reads.append(request.url))
        for seed in ("first", "second"):
            body = picture(seed=seed)
            inner._client.put_object(**inner._bucket, Key=KEY, Body=body)
            stats = {await objects.stat(KEY) for _ in range(5)}
            assert stats == {Stat(len(body), hashlib.sha256(body).hexdigest())}

        assert len(reads) == 2


async def test_what_another_program_brought_without_a_hash_is_read(
    settings: StorageSettings, s3_server: S3Server
) -> None:
    async with bucket(settings, s3_server) as objects:
        inner = objects._bucket
        inner._client.put_object(**inner._bucket, Key=KEY, Body=picture())

        async with objects.spool() as spool:
            await spool.write(picture())
        assert await objects.stat(KEY) == Stat(spool.size, spool.sha256)
        assert await put(objects, picture())


async def test_on_a_server_that_ignores_the_condition_one_whole_object_and_its_row_remain(
    settings: StorageSettings, s3_server: S3Server, store: Awaited
) -> None:
    """All its racers may get success; the row then follows the bytes."""
    async with bucket(settings, s3_server) as objects:

        def forget(request: Any, **_: Any) -> None:
            del request.headers["If-None-Match"]

        objects._bucket._client.meta.events.register("before-sign.s3.PutObject", forget)

        async def write(number: int) -> None:
            async with objects.spool() as spool:
                await spool.write(picture(seed=str(number), size=3000 + number))
                if await objects.put(KEY, spool):
                    row = StoredObject(KEY, "image/png", spool.size, spool.sha256, "kie-download", "gen_a", 0)
                    await register(objects, store.database, store.functions, row, spool)

        await asyncio.gather(*map(write, range(16)))
        stat, row = await objects.stat(KEY), await store.get(KEY)

        assert stat
        assert row
        assert (row.size, row.sha256) == (stat.size, stat.sha256)
        assert await content(objects) == picture(seed=str(stat.size - 3000), size=stat.size)
        assert not await put(objects, picture(seed="late"))


async def test_a_spool_without_room_is_an_error_and_leaves_nothing(
    settings: StorageSettings, s3_server: S3Server, small_disk: Path
) -> None:
    async with bucket(settings, s3_server, data_dir=small_disk) as objects:
        with pytest.raises(ResourceExhausted) as failure:
            await put(objects, picture(size=65 * MIB))
        assert failure.value.reason == "STORAGE_FULL"
        assert list((small_disk / "spool").iterdir()) == []
        assert await put(objects, picture(size=100_000))
