"""The client of the storage service."""

from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.errors import NotFound
from services.chassis.names import name, parse_key
from services.chassis.status import translated

KEEP_SECONDS = 75.0  # above storage's own limit for a fetch; the caller's deadline is nearer


class StorageClient:
    """The Objects port over kawaii.storage.v1."""

    def __init__(self, channel: aio.Channel) -> None:
        self._storage = storagerpc.StorageServiceStub(channel)

    async def keep(self, uri: str, wished_name: str) -> str:
        """Import a URL; storage guards against private addresses."""
        request = storagepb.ImportObjectRequest(source_uri=uri, file_name=wished_name)
        with translated():
            kept = await self._storage.ImportObject(request, timeout=KEEP_SECONDS)
        return parse_key(kept.name)

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is fine."""
        try:
            with translated():
                await self._storage.DeleteObject(storagepb.DeleteObjectRequest(name=name("objects", key)))
        except NotFound:
            return
