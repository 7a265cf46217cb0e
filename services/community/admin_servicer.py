"""The RPCs of CommunityAdminService, which only operators may call."""

from typing import Any

from grpc import aio
from kawaii.community.v1 import admin_pb2 as adminpb
from kawaii.community.v1 import admin_pb2_grpc as adminrpc
from kawaii.community.v1 import artworks_pb2 as artworkspb

from services.chassis.names import name
from services.community import wire
from services.community.core.admin import AdminOperations
from services.community.core.artworks import Artworks

Context = aio.ServicerContext[Any, Any]


class CommunityAdminServicer(adminrpc.CommunityAdminServiceServicer):
    """One method an RPC, in the proto's order. Operators see an artwork as its owner does."""

    def __init__(self, admin_operations: AdminOperations, artworks: Artworks, rendering: wire.Wire) -> None:
        self._admin_operations, self._artworks, self._wire = admin_operations, artworks, rendering

    async def ReconcileCounters(
        self, request: adminpb.ReconcileCountersRequest, context: Context
    ) -> adminpb.ReconcileCountersResponse:
        drift = await self._admin_operations.reconcile(mend=not request.dry_run)
        names = [name(wire.COLLECTION, each) for each in drift.artwork_ids]
        return adminpb.ReconcileCountersResponse(artwork_count=drift.looked_at, drift=drift.amount, artworks=names)

    async def RebuildCache(
        self, request: adminpb.RebuildCacheRequest, context: Context
    ) -> adminpb.RebuildCacheResponse:
        return adminpb.RebuildCacheResponse(key_count=await self._admin_operations.rebuild())

    async def HideArtwork(self, request: adminpb.HideArtworkRequest, context: Context) -> artworkspb.Artwork:
        card = await self._artworks.hide(wire.artwork_id(request.name), hidden=True)
        return self._wire.artwork(card, card.artwork.user_id)

    async def UnhideArtwork(self, request: adminpb.UnhideArtworkRequest, context: Context) -> artworkspb.Artwork:
        card = await self._artworks.hide(wire.artwork_id(request.name), hidden=False)
        return self._wire.artwork(card, card.artwork.user_id)

    async def ListReports(self, request: adminpb.ListReportsRequest, context: Context) -> adminpb.ListReportsResponse:
        reports, token = await self._admin_operations.reports(request.page_size, request.page_token)
        return adminpb.ListReportsResponse(reports=map(wire.report, reports), next_page_token=token)

    async def ListParkedCommunityWork(
        self, request: adminpb.ListParkedCommunityWorkRequest, context: Context
    ) -> adminpb.ListParkedCommunityWorkResponse:
        work = map(wire.parked, await self._admin_operations.parked())
        return adminpb.ListParkedCommunityWorkResponse(parked_works=work)

    async def ReleaseParkedCommunityWork(
        self, request: adminpb.ReleaseParkedCommunityWorkRequest, context: Context
    ) -> adminpb.ReleaseParkedCommunityWorkResponse:
        await self._admin_operations.release(request.loop, request.work)
        return adminpb.ReleaseParkedCommunityWorkResponse()
