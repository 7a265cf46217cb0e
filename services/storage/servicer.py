"""The RPCs of StorageService: parses, calls the core and renders."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.idempotency import IdempotencyKeys
from services.chassis.names import parse_key
from services.chassis.public_files import PublicFiles
from services.storage import wire
from services.storage.core import Objects, Uploads, Variants
from services.storage.model import StoredObject

Context = aio.ServicerContext[Any, Any]


class StorageServicer(storagerpc.StorageServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(
        self,
        objects: Objects,
        uploads: Uploads,
        variants: Variants,
        files: PublicFiles,
        upload_base: str,
        *,
        replays: IdempotencyKeys,
    ) -> None:
        self._replays = replays
        self._objects = objects
        self._uploads = uploads
        self._variants = variants
        self._files = files
        self._upload_base = upload_base

    async def UploadObject(
        self, request_iterator: AsyncIterator[storagepb.UploadObjectRequest], context: Context
    ) -> storagepb.Object:
        spec, chunks = await wire.upload(request_iterator)

        async def store(sent: AsyncIterator[bytes]) -> storagepb.Object:
            return self._rendered(await self._objects.upload(spec, sent))

        return await self._replays.once_sent(context, storagepb.Object, chunks, store)

    async def ImportObject(self, request: storagepb.ImportObjectRequest, context: Context) -> storagepb.Object:
        return self._rendered(await self._objects.import_(wire.order(request)))

    async def CheckSource(self, request: storagepb.CheckSourceRequest, context: Context) -> Empty:
        await self._objects.check(wire.uri("uri", request.uri))
        return Empty()

    async def GetObject(self, request: storagepb.GetObjectRequest, context: Context) -> storagepb.Object:
        return self._rendered(await self._objects.get(parse_key(request.name)))

    async def ReadObject(
        self, request: storagepb.ReadObjectRequest, context: Context
    ) -> AsyncIterator[storagepb.ReadObjectResponse]:
        async for chunk in self._objects.read(parse_key(request.name), request.offset, request.limit):
            yield storagepb.ReadObjectResponse(chunk=chunk)

    async def ListObjects(
        self, request: storagepb.ListObjectsRequest, context: Context
    ) -> storagepb.ListObjectsResponse:
        page = await self._objects.list(wire.wanted(request), request.page_size, request.page_token)
        objects = map(self._rendered, page.objects)
        return storagepb.ListObjectsResponse(objects=objects, next_page_token=page.next_page_token)

    async def DeleteObject(self, request: storagepb.DeleteObjectRequest, context: Context) -> Empty:
        await self._objects.delete(parse_key(request.name))
        return Empty()

    async def CreateVariant(self, request: storagepb.CreateVariantRequest, context: Context) -> storagepb.Object:
        return self._rendered(await self._variants.make(parse_key(request.object), wire.wish(request)))

    async def CreateUploadLink(
        self, request: storagepb.CreateUploadLinkRequest, context: Context
    ) -> storagepb.UploadLink:
        name = wire.shown(request.original_name)
        issued = await self._uploads.create(name, request.content_type, request.size_bytes)
        return wire.link_to_pb(issued.link, issued.bucket_uri or f"{self._upload_base}/{issued.token}")

    async def ConfirmUpload(self, request: storagepb.ConfirmUploadRequest, context: Context) -> storagepb.Object:
        return self._rendered(await self._uploads.confirm(parse_key(request.object)))

    def _rendered(self, found: StoredObject) -> storagepb.Object:
        return wire.to_pb(found, self._files.uri(found.key))
