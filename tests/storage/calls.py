"""Calls to the storage service as the tests make them, through a real channel."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeAlias

import grpc
import pytest
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis import status

Stub: TypeAlias = "storagerpc.StorageServiceAsyncStub"
Request = storagepb.UploadObjectRequest


async def requests(spec: dict[str, Any], chunks: Iterable[bytes]) -> AsyncIterator[Request]:
    yield Request(spec=Request.UploadSpec(**spec))
    for chunk in chunks:
        yield Request(chunk=chunk)
    yield Request(complete=True)


async def uploaded(stub: Stub, body: bytes, **spec: Any) -> storagepb.Object:
    return await stub.UploadObject(requests(spec, [body[:7], body[7:]]))


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The code, reason and metadata with which a call fails."""
    with pytest.raises(aio.AioRpcError) as failure:
        await call
    error = status.from_rpc(failure.value)
    assert error.message.endswith(".")
    return failure.value.code(), error.reason, error.metadata


async def read(stub: Stub, name: str, **part: int) -> list[bytes]:
    return [piece.chunk async for piece in stub.ReadObject(storagepb.ReadObjectRequest(name=name, **part))]
