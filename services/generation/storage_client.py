"""The storage service as generation uses it, over kawaii.storage.v1: copies of results, and checks of input URLs."""

from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.errors import InvalidArgument, KawaiiError, NotFound
from services.chassis.names import parse_key
from services.chassis.outbound import NOT_ALLOWED
from services.chassis.status import translated
from services.generation.model import Output
from services.generation.outcomes import Copy, Gone, Later

IMPORT_SECONDS = 75.0  # above storage's own limit for a fetch
CHECK_SECONDS = 5.0  # above storage's own limit for a look-up


class StorageClient:
    """Copies results into the storage service."""

    def __init__(self, channel: aio.Channel) -> None:
        self._storage = storagerpc.StorageServiceStub(channel)

    async def copy(self, generation_id: str, output: Output, download_uri: str) -> Copy | Gone | Later:
        """Import a result. NOT_FOUND and INVALID_ARGUMENT are about the result; every other error passes with time.

        A URL that storage may not open is a fault of our configuration, so it is tried again until that is corrected.
        """
        request = storagepb.ImportObjectRequest(
            source_uri=output.source_uri,
            generation_id=generation_id,
            index=output.index,
            download_uri=download_uri,
            file_stem=output.file_stem,
        )
        try:
            with translated():
                kept = await self._storage.ImportObject(request, timeout=IMPORT_SECONDS)
        except (NotFound, InvalidArgument) as error:
            return Later(error.message) if error.reason == NOT_ALLOWED else Gone(error.message)
        except KawaiiError as error:
            return Later(error.message)
        return Copy(parse_key(kept.name), kept.content_type, kept.size_bytes)

    async def check(self, uri: str) -> None:
        with translated():
            await self._storage.CheckSource(storagepb.CheckSourceRequest(uri=uri), timeout=CHECK_SECONDS)
