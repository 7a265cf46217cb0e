"""An upload that is repeated under its key is one file; other bytes under that key are refused."""

import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.status import from_rpc
from tests.storage.processes import parts
from tests.storage.samples import picture

KEY = (("idempotency-key", "k"),)


async def count(stub: "storagerpc.StorageServiceAsyncStub") -> int:
    return len((await stub.ListObjects(storagepb.ListObjectsRequest())).objects)


async def test_a_repeated_upload_is_one_file(stub: "storagerpc.StorageServiceAsyncStub") -> None:
    first = await stub.UploadObject(parts(picture()), metadata=KEY)
    call = stub.UploadObject(parts(picture()), metadata=KEY)

    assert await call == first
    assert ("idempotent-replayed", "true") in tuple(await call.trailing_metadata())
    assert await count(stub) == 1


async def test_other_bytes_under_the_same_key_are_refused(stub: "storagerpc.StorageServiceAsyncStub") -> None:
    await stub.UploadObject(parts(picture()), metadata=KEY)

    with pytest.raises(aio.AioRpcError) as caught:
        await stub.UploadObject(parts(picture(seed="another")), metadata=KEY)

    assert from_rpc(caught.value).reason == "IDEMPOTENCY_KEY_REUSED"
    assert await count(stub) == 1


async def test_without_a_key_each_upload_is_a_file(stub: "storagerpc.StorageServiceAsyncStub") -> None:
    for _ in range(2):
        await stub.UploadObject(parts(picture()))

    assert await count(stub) == 2
