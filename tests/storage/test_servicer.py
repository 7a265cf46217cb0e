"""The service as its callers meet it: a real channel, the real interceptors, codes and reasons."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb

from services.chassis.status import from_rpc
from services.storage.model import PICTURE_TYPES
from services.storage.ports import Backend
from tests.storage.calls import Request, Stub, read, refused, uploaded
from tests.storage.processes import parts
from tests.storage.samples import Remote, answer, ok, picture

Pb = storagepb.Object


@pytest.mark.parametrize("kind", PICTURE_TYPES)
async def test_an_upload_is_kept_under_a_key_and_type_from_its_bytes(stub: Stub, kind: Any) -> None:
    body = picture(kind.extension)
    found = await uploaded(stub, body, original_name="../evil\r\n.html", generation_id="gen_a")

    assert found.name.startswith("objects/uploads/")
    assert found.name.endswith(f".{kind.extension}")
    assert found.uri == f"https://site.example/files/{found.name.removeprefix('objects/')}"
    assert (found.content_type, found.size_bytes) == (kind.content_type, len(body))
    assert (found.original_name, found.source, found.generation_id) == (
        "../evil .html",
        Pb.SOURCE_UPLOAD,
        "gen_a",
    )
    assert found.create_time.seconds > 1_700_000_000
    assert await stub.GetObject(storagepb.GetObjectRequest(name=found.name)) == found
    assert b"".join(await read(stub, found.name)) == body


@pytest.mark.parametrize(
    ("body", "spec", "reason"),
    [
        (b"", {}, "EMPTY_FILE"),
        (b"<svg/>" * 100, {"original_name": "a.png"}, "INVALID_IMAGE"),
        (picture(size=100_001), {}, "FILE_TOO_LARGE"),
        (picture(size=11), {"max_size_bytes": 10}, "FILE_TOO_LARGE"),
        (picture(size=100_001), {"max_size_bytes": 10**12}, "FILE_TOO_LARGE"),
        (picture(), {"max_size_bytes": -1}, "INVALID_INPUT"),
        (picture(), {"prefix": "../etc"}, "INVALID_INPUT"),
        (picture(), {"prefix": "pending"}, "INVALID_INPUT"),
        (picture(), {"generation_id": "a/../b"}, "INVALID_INPUT"),
    ],
)
async def test_a_wrong_upload_is_refused_and_leaves_nothing(
    stub: Stub, body: bytes, spec: dict[str, Any], reason: str
) -> None:
    code, found, metadata = await refused(uploaded(stub, body, **spec))

    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert ("max_bytes" in metadata) == (reason == "FILE_TOO_LARGE")
    assert not (await stub.ListObjects(storagepb.ListObjectsRequest())).objects


async def test_an_upload_of_exactly_the_limit_is_taken(stub: Stub) -> None:
    assert (await uploaded(stub, picture(size=100_000))).size_bytes == 100_000
    assert (await uploaded(stub, picture(size=300_000), prefix="generated")).size_bytes == 300_000


async def test_an_upload_must_begin_with_its_spec_and_go_on_with_bytes(stub: Stub) -> None:
    async def no_spec() -> AsyncIterator[Request]:
        yield Request(chunk=picture())

    async def two_specs() -> AsyncIterator[Request]:
        yield Request(spec=Request.UploadSpec())
        yield Request(spec=Request.UploadSpec())

    async def nothing() -> AsyncIterator[Request]:
        return
        yield

    for stream in (no_spec(), two_specs(), nothing()):
        assert (await refused(stub.UploadObject(stream)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_upload_that_ends_without_the_word_complete_was_torn_and_is_not_kept(stub: Stub) -> None:
    """A killed caller looks to the server like a stream that ended well."""

    async def torn() -> AsyncIterator[Request]:
        yield Request(spec=Request.UploadSpec())
        yield Request(chunk=picture())

    code, reason, _ = await refused(stub.UploadObject(torn()))

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_INCOMPLETE")
    assert not (await stub.ListObjects(storagepb.ListObjectsRequest())).objects


async def test_an_import_comes_back_with_its_public_address(stub: Stub, remote: Remote) -> None:
    source = remote.put("/r.png", ok(picture()))
    order = storagepb.ImportObjectRequest(source_uri=source, generation_id="gen_a", index=2)
    found = await stub.ImportObject(order)

    assert found.name == "objects/generated/gen_a/2.png"
    assert found.uri == "https://site.example/files/generated/gen_a/2.png"
    assert (found.index, found.source, found.source_uri) == (2, Pb.SOURCE_KIE_DOWNLOAD, source)
    assert await stub.ImportObject(order) == found


@pytest.mark.parametrize(
    ("order", "code", "reason"),
    [
        ({"source_uri": "http://169.254.169.254/"}, grpc.StatusCode.INVALID_ARGUMENT, "URL_NOT_ALLOWED"),
        ({"source_uri": ""}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        ({"source_uri": "http://x/" + "a" * 9000}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        ({"source_uri": "/gone"}, grpc.StatusCode.NOT_FOUND, "SOURCE_GONE"),
        ({"source_uri": "/down"}, grpc.StatusCode.UNAVAILABLE, "SOURCE_UNAVAILABLE"),
        ({"source_uri": "/html"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_IMAGE"),
        ({"source_uri": "/html", "generation_id": "../x"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        ({"source_uri": "/html", "index": -1}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
        ({"source_uri": "https://site.example/files/uploads/no.png"}, grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    ],
)
async def test_an_import_that_cannot_be_says_why(
    stub: Stub, remote: Remote, order: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    remote.put("/down", answer(502, "Content-Length: 0"))
    remote.put("/html", ok(b"<html></html>"))
    if order["source_uri"].startswith("/"):
        order = order | {"source_uri": remote.url(order["source_uri"])}

    assert (await refused(stub.ImportObject(storagepb.ImportObjectRequest(**order))))[:2] == (code, reason)


async def test_a_range_is_read_and_a_wrong_one_refused(stub: Stub) -> None:
    body = picture(size=300_000)
    found = await uploaded(stub, body, prefix="generated")

    assert b"".join(await read(stub, found.name, offset=100, limit=50)) == body[100:150]
    assert [len(piece) for piece in await read(stub, found.name)] == [262_144, 300_000 - 262_144]
    for part in ({"offset": -1}, {"limit": -1}, {"offset": 300_001}):
        assert (await refused(read(stub, found.name, **part)))[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["", "uploads/a.png", "objects/", "objects/../a", "objects/a//b", "objects/a\x00"])
async def test_a_name_of_another_form_is_refused(stub: Stub, name: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: stub.GetObject(storagepb.GetObjectRequest(name=name)),
        lambda: stub.DeleteObject(storagepb.DeleteObjectRequest(name=name)),
        lambda: stub.ConfirmUpload(storagepb.ConfirmUploadRequest(object=name)),
        lambda: read(stub, name),
    ]
    for call in calls:
        assert (await refused(call()))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_does_not_exist_is_not_found(stub: Stub) -> None:
    name = "objects/uploads/none.png"
    calls: list[Callable[[], Any]] = [
        lambda: stub.GetObject(storagepb.GetObjectRequest(name=name)),
        lambda: stub.DeleteObject(storagepb.DeleteObjectRequest(name=name)),
        lambda: stub.ConfirmUpload(storagepb.ConfirmUploadRequest(object=name)),
        lambda: read(stub, name),
    ]
    for call in calls:
        assert (await refused(call()))[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_a_deleted_object_is_gone_with_its_bytes(stub: Stub, backend: Backend) -> None:
    found = await uploaded(stub, picture())
    await stub.DeleteObject(storagepb.DeleteObjectRequest(name=found.name))

    assert await backend.stat(found.name.removeprefix("objects/")) is None
    assert (await refused(read(stub, found.name)))[0] is grpc.StatusCode.NOT_FOUND
    assert (await refused(stub.GetObject(storagepb.GetObjectRequest(name=found.name))))[0] is grpc.StatusCode.NOT_FOUND


async def test_an_object_whose_bytes_are_gone_is_not_an_object_that_never_was(stub: Stub, backend: Backend) -> None:
    found = await uploaded(stub, picture())
    await backend.delete(found.name.removeprefix("objects/"))

    assert (await refused(read(stub, found.name)))[:2] == (grpc.StatusCode.DATA_LOSS, "DATA_LOSS")


async def test_an_upload_link_is_only_for_pictures_of_a_fitting_size(stub: Stub) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"content_type": "image/svg+xml", "size_bytes": 5}, "INVALID_IMAGE"),
        ({"content_type": "image/png", "size_bytes": 0}, "INVALID_INPUT"),
        ({"content_type": "image/png", "size_bytes": 100_001}, "FILE_TOO_LARGE"),
    ]
    for arguments, reason in wrong:
        call = stub.CreateUploadLink(storagepb.CreateUploadLinkRequest(**arguments))
        assert (await refused(call))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_a_variant_is_an_object_that_anyone_may_read(stub: Stub) -> None:
    original = await uploaded(stub, picture())
    request = storagepb.CreateVariantRequest(object=original.name, width=2, format="jpeg")
    made = await stub.CreateVariant(request)

    assert made.name == f"objects/variants/{original.name.removeprefix('objects/')}/64x0q70.jpg"
    assert (made.content_type, made.source, made.width, made.height) == (
        "image/jpeg",
        Pb.SOURCE_VARIANT,
        4,
        3,
    )
    assert len(b"".join(await read(stub, made.name))) == made.size_bytes
    assert await stub.CreateVariant(request) == made


async def test_a_wrong_wish_for_a_variant_is_refused(stub: Stub) -> None:
    original = (await uploaded(stub, picture())).name
    for wrong, reason in (
        ({"object": "objects/uploads/none.png"}, "NOT_FOUND"),
        ({"object": "uploads/none.png"}, "INVALID_INPUT"),
        ({"object": original, "width": -1}, "INVALID_INPUT"),
        ({"object": original, "format": "svg"}, "INVALID_INPUT"),
        ({"object": original, "width": 9, "signature": "forged"}, "FORBIDDEN"),
    ):
        assert (await refused(stub.CreateVariant(storagepb.CreateVariantRequest(**wrong))))[1] == reason


async def test_an_object_says_how_large_it_is_and_how_it_looks(stub: Stub) -> None:
    found = await uploaded(stub, picture())

    assert (found.width, found.height) == (4, 3)
    assert found.thumb_hash


async def test_pages_follow_each_other_newest_first(stub: Stub) -> None:
    names = [(await uploaded(stub, picture(seed=str(number)))).name for number in range(5)]
    seen, token = list[str](), ""
    while True:
        page = await stub.ListObjects(storagepb.ListObjectsRequest(page_size=2, page_token=token, prefix="uploads/"))
        seen += [found.name for found in page.objects]
        token = page.next_page_token
        if not token:
            break

    assert sorted(seen) == sorted(names)
    found = [await stub.GetObject(storagepb.GetObjectRequest(name=name)) for name in seen]
    times = [one.create_time.ToMilliseconds() for one in found]
    assert times == sorted(times, reverse=True)


async def test_a_list_refuses_wrong_sizes_prefixes_and_foreign_tokens(stub: Stub) -> None:
    for number in range(2):
        await uploaded(stub, picture(seed=str(number)))
    page = await stub.ListObjects(storagepb.ListObjectsRequest(page_size=1))
    wrong: list[dict[str, Any]] = [
        {"page_size": -1},
        {"prefix": "a\x00"},
        {"generation_id": "x/y"},
        {"page_token": "forged"},
        {"page_token": page.next_page_token, "prefix": "uploads/"},
    ]

    assert (await stub.ListObjects(storagepb.ListObjectsRequest(page_size=5000))).objects
    for arguments in wrong:
        call = stub.ListObjects(storagepb.ListObjectsRequest(**arguments))
        assert (await refused(call))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")


KEY = (("idempotency-key", "k"),)


async def count(stub: Stub) -> int:
    return len((await stub.ListObjects(storagepb.ListObjectsRequest())).objects)


async def test_a_repeated_upload_is_one_file(stub: Stub) -> None:
    first = await stub.UploadObject(parts(picture()), metadata=KEY)
    call = stub.UploadObject(parts(picture()), metadata=KEY)

    assert await call == first
    assert ("idempotent-replayed", "true") in tuple(await call.trailing_metadata())
    assert await count(stub) == 1


async def test_other_bytes_under_the_same_key_are_refused(stub: Stub) -> None:
    await stub.UploadObject(parts(picture()), metadata=KEY)

    with pytest.raises(aio.AioRpcError) as caught:
        await stub.UploadObject(parts(picture(seed="another")), metadata=KEY)

    assert from_rpc(caught.value).reason == "IDEMPOTENCY_KEY_REUSED"
    assert await count(stub) == 1


async def test_without_a_key_each_upload_is_a_file(stub: Stub) -> None:
    for _ in range(2):
        await stub.UploadObject(parts(picture()))

    assert await count(stub) == 2
