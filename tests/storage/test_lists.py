"""Lists through the real channel: newest first, page by page, and strict about what is asked."""

from typing import Any

import grpc
from kawaii.storage.v1 import storage_pb2 as storagepb

from tests.storage.calls import Stub, refused, uploaded
from tests.storage.samples import picture


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
