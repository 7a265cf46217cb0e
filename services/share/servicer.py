"""The RPCs of ShareService: parses, calls the core and renders."""

from google.protobuf.empty_pb2 import Empty
from grpc.aio import ServicerContext
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc

from services.chassis.idempotency import IdempotencyKeys
from services.chassis.public_files import PublicFiles
from services.share import wire
from services.share.core.shares import Shares


class ShareServicer(sharerpc.ShareServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, shares: Shares, files: PublicFiles, replays: IdempotencyKeys) -> None:
        self._shares = shares
        self._files = files
        self._replays = replays

    async def CreateShare(
        self,
        request: sharepb.CreateShareRequest,
        context: ServicerContext[sharepb.CreateShareRequest, sharepb.CreateShareResponse],
    ) -> sharepb.CreateShareResponse:
        async def create() -> sharepb.CreateShareResponse:
            share, token = await self._shares.create(wire.new_share(request.share))
            return wire.created(share, token, self._files)

        return await self._replays.once(context, sharepb.CreateShareResponse, create)

    async def GetShare(
        self, request: sharepb.GetShareRequest, context: ServicerContext[sharepb.GetShareRequest, sharepb.Share]
    ) -> sharepb.Share:
        return wire.share(await self._shares.get(wire.share_id(request.name)), self._files)

    async def BatchGetShares(
        self,
        request: sharepb.BatchGetSharesRequest,
        context: ServicerContext[sharepb.BatchGetSharesRequest, sharepb.BatchGetSharesResponse],
    ) -> sharepb.BatchGetSharesResponse:
        return wire.batch(await self._shares.batch(wire.share_ids(request.names)), self._files)

    async def ListShares(
        self,
        request: sharepb.ListSharesRequest,
        context: ServicerContext[sharepb.ListSharesRequest, sharepb.ListSharesResponse],
    ) -> sharepb.ListSharesResponse:
        return wire.page(await self._shares.list(wire.query(request)), self._files)

    async def ListLatestShares(
        self,
        request: sharepb.ListLatestSharesRequest,
        context: ServicerContext[sharepb.ListLatestSharesRequest, sharepb.ListLatestSharesResponse],
    ) -> sharepb.ListLatestSharesResponse:
        return wire.latest(await self._shares.latest(request.page_size), self._files)

    async def ListShareLinks(
        self,
        request: sharepb.ListShareLinksRequest,
        context: ServicerContext[sharepb.ListShareLinksRequest, sharepb.ListShareLinksResponse],
    ) -> sharepb.ListShareLinksResponse:
        return wire.links(await self._shares.links(request.block))

    async def PublishShare(
        self, request: sharepb.PublishShareRequest, context: ServicerContext[sharepb.PublishShareRequest, sharepb.Share]
    ) -> sharepb.Share:
        async def publish() -> sharepb.Share:
            return wire.share(await self._shares.publish(wire.share_id(request.name), request.token), self._files)

        return await self._replays.once(context, sharepb.Share, publish)

    async def DeleteShare(
        self, request: sharepb.DeleteShareRequest, context: ServicerContext[sharepb.DeleteShareRequest, Empty]
    ) -> Empty:
        await self._shares.delete(wire.share_id(request.name), request.token)
        return Empty()

    async def GetShareStats(
        self,
        request: sharepb.GetShareStatsRequest,
        context: ServicerContext[sharepb.GetShareStatsRequest, sharepb.ShareStats],
    ) -> sharepb.ShareStats:
        return wire.stats(await self._shares.stats())
