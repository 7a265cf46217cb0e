"""How a file is PUT to an upload link, waits, and becomes an object."""

from typing import Any

import httpx
import pytest
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.errors import KawaiiError
from services.chassis.signing_keys import PurposeKeys
from services.storage.core import Uploads
from services.storage.core.uploads import UploadToken, UploadTokens
from services.storage.model import UploadLink
from services.storage.ports import Backend
from tests.storage.samples import picture, stream
from tests.support.awaited import Awaited

BODY = picture(size=5000)


async def put(backend: Backend, key: str, body: bytes = BODY) -> None:
    async with backend.spool() as spool:
        await spool.write(body)
        await backend.put(key, spool)


async def link(stub: Any, size: int = 5000, content_type: str = "image/png") -> storagepb.UploadLink:
    request = storagepb.CreateUploadLinkRequest(original_name="cat.png", content_type=content_type, size_bytes=size)
    answer: storagepb.UploadLink = await stub.CreateUploadLink(request)
    return answer


def path_of(issued: storagepb.UploadLink) -> str:
    return issued.uri.removeprefix("https://site.example")


async def confirmed(stub: Any, issued: storagepb.UploadLink) -> storagepb.Object:
    answer: storagepb.Object = await stub.ConfirmUpload(storagepb.ConfirmUploadRequest(object=issued.object))
    return answer


async def test_a_file_is_put_to_its_link_and_public_once_confirmed(
    browser: httpx.AsyncClient, stub: "storagerpc.StorageServiceAsyncStub", backend: Backend
) -> None:
    issued = await link(stub)
    public = f"/files/{issued.object.removeprefix('objects/')}"
    answer = await browser.put(path_of(issued), content=stream([BODY[:100], BODY[100:]]), headers=issued.headers)

    assert (answer.status_code, answer.json()) == (201, {"success": True})
    assert (await browser.get(public)).status_code == 404
    found = await confirmed(stub, issued)
    assert (found.name, found.size_bytes, found.original_name) == (issued.object, 5000, "cat.png")
    assert (await browser.get(public)).content == BODY
    assert await confirmed(stub, issued) == found
    assert await backend.stat(f"pending/{issued.object.rpartition('/')[2]}") is None


async def test_a_link_takes_no_more_than_was_declared(browser: httpx.AsyncClient, stub: Any) -> None:
    answer = await browser.put(path_of(await link(stub, 4999)), content=stream([BODY]))

    assert (answer.status_code, answer.json()["code"]) == (413, "FILE_TOO_LARGE")


async def test_a_link_refuses_less_than_was_declared_and_then_takes_the_whole_file(
    browser: httpx.AsyncClient, stub: Any
) -> None:
    """As a browser sends it that loses its connection in the middle, and tries again."""
    issued = await link(stub)
    short = await browser.put(path_of(issued), content=stream([BODY[:4000]]))
    whole = await browser.put(path_of(issued), content=stream([BODY]))

    assert (short.status_code, short.json()["code"]) == (400, "FILE_INCOMPLETE")
    assert "4000 bytes and not the 5000" in short.json()["message"]
    assert whole.status_code == 201
    assert (await confirmed(stub, issued)).size_bytes == 5000


async def test_a_link_that_we_did_not_sign_opens_nothing(browser: httpx.AsyncClient, stub: Any) -> None:
    path = path_of(await link(stub))
    changed = [path[:-1], path[:40], path[:-10] + "AAAAAAAAAA", path + "AAAA"]

    for forged in [*changed, "/files/-/uploads/", "/files/-/uploads/%ff"]:
        answer = await browser.put(forged, content=BODY)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_token_of_any_length_is_read_as_it_was_signed() -> None:
    tokens = UploadTokens(PurposeKeys(b"a secret of thirty-two bytes ..."))

    for length in range(8):
        token = UploadToken(f"uploads/{'a' * length}.png", 5000, 1000)
        assert tokens.verified(tokens.signed(token), 999) == token


async def test_a_link_takes_one_file_and_the_same_again(browser: httpx.AsyncClient, stub: Any) -> None:
    path = path_of(await link(stub))

    assert [(await browser.put(path, content=BODY)).status_code for _ in range(2)] == [201, 201]
    assert (await browser.put(path, content=picture(seed="other", size=5000))).status_code == 409


async def test_an_expired_link_is_refused(backend: Backend, uploads: Uploads) -> None:
    issued = await uploads.create("cat.png", "image/png", 5000)
    uploads._clock = lambda: issued.link.expire_ms

    with pytest.raises(KawaiiError, match="expired"):
        await uploads.receive(issued.token, stream([BODY]))
    assert await backend.stat(f"pending/{issued.link.key.rpartition('/')[2]}") is None


@pytest.mark.parametrize(("body", "reason"), [(picture("gif"), "INVALID_IMAGE"), (b"<html></html>", "INVALID_IMAGE")])
async def test_what_is_not_what_was_declared_is_not_confirmed(uploads: Uploads, body: bytes, reason: str) -> None:
    issued = await uploads.create("cat.png", "image/png", len(body))
    await uploads.receive(issued.token, stream([body]))

    with pytest.raises(KawaiiError) as refusal:
        await uploads.confirm(issued.link.key)
    assert refusal.value.reason == reason


async def test_nothing_is_confirmed_before_it_came(uploads: Uploads) -> None:
    issued = await uploads.create("cat.png", "image/png", 5000)

    with pytest.raises(KawaiiError) as refusal:
        await uploads.confirm(issued.link.key)
    assert refusal.value.reason == "NOT_UPLOADED"


async def test_an_upload_that_nobody_confirms_is_reaped(uploads: Uploads, backend: Backend, store: Awaited) -> None:
    old = UploadLink("uploads/old.png", "image/png", 5, "", 1)
    await store.add_link(old)
    await put(backend, "pending/old.png")
    uploads._lifetime = -1
    await uploads.reap_once()

    assert await backend.stat("pending/old.png") is None
    assert await store.get_link(old.key) is None
