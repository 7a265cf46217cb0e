"""A storage service that keeps files in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.errors import InvalidArgument, KawaiiError, NotFound
from tests.gateway.shapes import FILES, PNG, TIME

Context = aio.ServicerContext[Any, Any]


class StorageService(storagerpc.StorageServiceServicer):
    """Keeps objects; `messages` are the sizes of an upload's chunks, `kept` the bytes of finished uploads only.

    `seconds` is what the last list or upload was given.
    """

    def __init__(self) -> None:
        self.rows: list[storagepb.Object] = []
        self.kept: dict[str, bytes] = {}
        self.specs: list[storagepb.UploadObjectRequest.UploadSpec] = []
        self.messages: list[int] = []
        self.imports: list[storagepb.ImportObjectRequest] = []
        self.wishes: list[storagepb.CreateVariantRequest] = []
        self.variant_failure: KawaiiError | None = None
        self.variant_gone: KawaiiError | None = None
        self.seconds = 0.0
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, key: str, **fields: Any) -> storagepb.Object:
        row = storagepb.Object(
            name=f"objects/{key}", uri=f"{FILES}/{key}", content_type="image/png", create_time=TIME, **fields
        )
        self.rows.insert(0, row)
        return row

    async def UploadObject(
        self, request_iterator: AsyncIterator[storagepb.UploadObjectRequest], context: Context
    ) -> storagepb.Object:
        content = bytearray()
        self.seconds = context.time_remaining()
        async for message in request_iterator:
            if message.HasField("spec"):
                self.specs.append(message.spec)
                continue
            if message.HasField("complete"):
                return self._kept(bytes(content))
            await self.gate.wait()
            content += message.chunk
            self.messages.append(len(message.chunk))
            if not content.startswith(PNG):
                raise InvalidArgument("The file is not a picture.", "INVALID_IMAGE")
        raise InvalidArgument("The upload broke off.", "UPLOAD_INCOMPLETE")

    def _kept(self, content: bytes) -> storagepb.Object:
        key = f"uploads/{len(self.rows)}.png"
        self.kept[key] = content
        return self.add(key, size_bytes=len(content), original_name=self.specs[-1].original_name)

    async def ImportObject(self, request: storagepb.ImportObjectRequest, context: Context) -> storagepb.Object:
        self.imports.append(request)
        place = f"{request.generation_id}/{request.index}.png" if request.generation_id else request.file_name
        return self.add(
            f"generated/{place or 'unnamed.png'}",
            size_bytes=4,
            generation_id=request.generation_id,
            source_uri=request.source_uri,
        )

    async def GetObject(self, request: storagepb.GetObjectRequest, context: Context) -> storagepb.Object:
        for row in self.rows:
            if row.name == request.name:
                return row
        raise NotFound("There is no such object.")

    async def ListObjects(
        self, request: storagepb.ListObjectsRequest, context: Context
    ) -> storagepb.ListObjectsResponse:
        self.seconds = context.time_remaining()
        rows = [row for row in self.rows if row.generation_id == request.generation_id]
        return storagepb.ListObjectsResponse(objects=rows)

    async def ReadObject(
        self, request: storagepb.ReadObjectRequest, context: Context
    ) -> AsyncIterator[storagepb.ReadObjectResponse]:
        if self.variant_gone and request.name.startswith("objects/variants/"):
            raise self.variant_gone
        content = self.kept[request.name.removeprefix("objects/")]
        end = request.offset + request.limit if request.limit else len(content)
        step = max(3, len(content) // 5)  # several pieces, however short it is
        for start in range(request.offset, end, step):
            yield storagepb.ReadObjectResponse(chunk=content[start : min(start + step, end)])

    async def CreateVariant(self, request: storagepb.CreateVariantRequest, context: Context) -> storagepb.Object:
        self.wishes.append(request)
        if self.variant_failure:
            raise self.variant_failure
        original = await self.GetObject(storagepb.GetObjectRequest(name=request.object), context)
        key = f"variants/{original.name.removeprefix('objects/')}/small.webp"
        self.kept[key] = b"small"
        row = self.add(key, size_bytes=5, sha256="5" * 64)
        row.content_type = "image/webp"
        return row

    async def DeleteObject(self, request: storagepb.DeleteObjectRequest, context: Context) -> Empty:
        self.rows.remove(await self.GetObject(storagepb.GetObjectRequest(name=request.name), context))
        self.kept.pop(request.name.removeprefix("objects/"), None)
        return Empty()

    async def CreateUploadLink(self, request: Any, context: Context) -> Any: ...

    async def ConfirmUpload(self, request: Any, context: Context) -> Any: ...
