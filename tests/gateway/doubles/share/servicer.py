"""A share service that keeps shares in memory."""

from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1 import admin_pb2_grpc as shareadminrpc
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.errors import NotFound, PermissionDenied
from tests.gateway.shapes import TIME

Context = aio.ServicerContext[Any, Any]


class ShareService(sharerpc.ShareServiceServicer):
    """Keeps shares, newest first; the token of a share is ptk_ and its id."""

    def __init__(self) -> None:
        self.rows: list[sharepb.Share] = []
        self.crash = False
        self.block_size = 50_000
        self.links_read = 0
        self.batches: list[list[str]] = []

    def add(self, identifier: str, **fields: Any) -> sharepb.Share:
        row = sharepb.Share(name=f"shares/{identifier}", create_time=TIME, **fields)
        self.rows.insert(0, row)
        return row

    async def CreateShare(self, request: sharepb.CreateShareRequest, context: Context) -> sharepb.CreateShareResponse:
        for row in self.rows:
            if row.generated_uri == request.share.generated_uri:
                return sharepb.CreateShareResponse(share=row)
        share = request.share
        share.name = f"shares/share_{len(self.rows) + 1}"
        share.style = share.style or "default"
        share.create_time.CopyFrom(TIME)
        share.seo.title_en = "A title"
        self.rows.insert(0, share)
        return sharepb.CreateShareResponse(share=share, publish_token=f"ptk_{share.name}")

    async def GetShare(self, request: sharepb.GetShareRequest, context: Context) -> sharepb.Share:
        for row in self.rows:
            if row.name == request.name:
                return row
        raise NotFound("There is no such share.")

    async def ListShares(self, request: sharepb.ListSharesRequest, context: Context) -> sharepb.ListSharesResponse:
        rows = [row for row in self.rows if not request.style or row.style == request.style]
        start = int(request.page_token or request.skip)
        end = start + request.page_size
        token = str(end) if end < len(rows) else ""
        return sharepb.ListSharesResponse(shares=rows[start:end], next_page_token=token, total_size=len(rows))

    async def ListLatestShares(
        self, request: sharepb.ListLatestSharesRequest, context: Context
    ) -> sharepb.ListLatestSharesResponse:
        return sharepb.ListLatestSharesResponse(shares=self.rows[: request.page_size or 12])

    async def PublishShare(self, request: sharepb.PublishShareRequest, context: Context) -> sharepb.Share:
        row = await self._owned(request.name, request.token, context)
        row.published, row.unlisted = True, False
        row.publish_time.CopyFrom(TIME)
        return row

    async def DeleteShare(self, request: sharepb.DeleteShareRequest, context: Context) -> Empty:
        self.rows.remove(await self._owned(request.name, request.token, context))
        return Empty()

    async def _owned(self, name: str, token: str, context: Context) -> sharepb.Share:
        row = await self.GetShare(sharepb.GetShareRequest(name=name), context)
        if token != f"ptk_{name}":
            raise PermissionDenied("This token does not belong to this share.", "INVALID_TOKEN")
        return row

    async def BatchGetShares(
        self, request: sharepb.BatchGetSharesRequest, context: Context
    ) -> sharepb.BatchGetSharesResponse:
        self.batches.append(list(request.names))
        if self.crash:
            message = "secret insides at /srv/share.db"
            raise RuntimeError(message)
        return sharepb.BatchGetSharesResponse(shares=[row for row in self.rows if row.name in request.names])

    async def ListShareLinks(
        self, request: sharepb.ListShareLinksRequest, context: Context
    ) -> sharepb.ListShareLinksResponse:
        blocks = [
            self.rows[::-1][start : start + self.block_size] for start in range(0, len(self.rows), self.block_size)
        ]
        rows = blocks[request.block] if request.block < len(blocks) else []
        self.links_read += len(rows)
        links = [sharepb.ShareLink(name=row.name, update_time=row.create_time) for row in rows]
        return sharepb.ListShareLinksResponse(links=links, block_count=len(blocks))

    async def GetShareStats(self, request: Any, context: Context) -> Any: ...


class ShareAdminService(shareadminrpc.ShareAdminServiceServicer):
    """The operators' side of it, one share a page, oldest first."""

    def __init__(self, shares: ShareService) -> None:
        self._shares = shares

    async def ListShareRecords(
        self, request: shareadminpb.ListShareRecordsRequest, context: Context
    ) -> shareadminpb.ListShareRecordsResponse:
        at, rows = int(request.page_token or 0), self._shares.rows[::-1]
        records = [shareadminpb.ShareRecord(share=row, token_digest="d" * 64) for row in rows[at : at + 1]]
        return shareadminpb.ListShareRecordsResponse(
            share_records=records, next_page_token=str(at + 1) if at + 1 < len(rows) else ""
        )

    async def RestoreShare(self, request: Any, context: Context) -> Any: ...
