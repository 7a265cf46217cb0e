"""How a file is PUT straight to the bucket and becomes an object once it is confirmed."""

from typing import Any

import httpx
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.errors import KawaiiError
from services.storage.core import Uploads
from services.storage.ports import Backend
from services.storage.settings import StorageSettings
from tests.storage.buckets import in_bucket
from tests.storage.samples import picture
from tests.support.s3 import S3Server

BODY = picture(size=5000)


@pytest.fixture
def backend_settings(settings: StorageSettings, s3_server: S3Server) -> StorageSettings:
    return in_bucket(settings, s3_server)


async def put(uri: str, body: bytes = BODY) -> int:
    async with httpx.AsyncClient(trust_env=False) as anyone:
        return (await anyone.put(uri, content=body, headers={"Content-Type": "image/png"})).status_code


async def test_a_file_goes_straight_to_the_bucket_and_is_public_once_confirmed(
    stub: Any, browser: httpx.AsyncClient, s3_server: S3Server
) -> None:
    request = storagepb.CreateUploadLinkRequest(original_name="cat.png", content_type="image/png", size_bytes=5000)
    issued = await stub.CreateUploadLink(request)
    public = f"/files/{issued.object.removeprefix('objects/')}"
    assert issued.uri.startswith(s3_server.endpoint)
    assert await put(issued.uri) == 200

    assert (await browser.get(public)).status_code == 404
    found = await stub.ConfirmUpload(storagepb.ConfirmUploadRequest(object=issued.object))
    assert (found.name, found.size_bytes, found.original_name) == (issued.object, 5000, "cat.png")
    assert (await browser.get(public)).content == BODY


async def test_a_wrong_type_is_found_at_the_confirmation(uploads: Uploads) -> None:
    issued = await uploads.create("cat.png", "image/png", 5000)
    assert await put(issued.bucket_uri, b"<html>".ljust(5000)) == 200

    with pytest.raises(KawaiiError) as refusal:
        await uploads.confirm(issued.link.key)
    assert refusal.value.reason == "INVALID_IMAGE"


async def test_what_is_sent_again_after_a_confirmation_that_died_changes_nothing(
    uploads: Uploads, backend: Backend
) -> None:
    """The first confirmation put the object and died before its row; the link still takes bytes."""
    issued = await uploads.create("cat.png", "image/png", 5000)
    async with backend.spool() as spool:
        await spool.write(BODY)
        await backend.put(issued.link.key, spool)
    await put(issued.bucket_uri, picture(seed="other", size=5000))
    confirmed = await uploads.confirm(issued.link.key)

    assert confirmed.sha256 == spool.sha256
    assert await backend.stat(issued.link.key) is not None
    assert await uploads.confirm(issued.link.key) == confirmed


async def test_an_upload_that_nobody_confirms_is_reaped(uploads: Uploads, backend: Backend) -> None:
    issued = await uploads.create("cat.png", "image/png", 5000)
    await put(issued.bucket_uri)
    await uploads.reap_once()
    assert [listed.size async for listed in backend.keys("pending/")] == [5000]

    uploads._clock = lambda: issued.link.expire_ms + uploads._lifetime * 1000 + 1
    await uploads.reap_once()
    assert [listed async for listed in backend.keys("pending/")] == []
