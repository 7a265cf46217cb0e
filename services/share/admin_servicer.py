"""The RPCs of ShareAdminService, which only operators may call."""

from typing import Any

from grpc.aio import ServicerContext
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc

from services.chassis.public_files import PublicFiles
from services.share import wire
from services.share.core.records import ShareRecords

Context = ServicerContext[Any, Any]


class ShareAdminServicer(shareadminrpc.ShareAdminServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, records: ShareRecords, files: PublicFiles) -> None:
        self._records = records
        self._files = files

    async def ListShareRecords(
        self, request: shareadminpb.ListShareRecordsRequest, context: Context
    ) -> shareadminpb.ListShareRecordsResponse:
        return wire.records(await self._records.list(request.page_size, request.page_token), self._files)

    async def RestoreShare(
        self, request: shareadminpb.RestoreShareRequest, context: Context
    ) -> shareadminpb.RestoreShareResponse:
        return shareadminpb.RestoreShareResponse(created=await self._records.restore(wire.record(request.share_record)))
