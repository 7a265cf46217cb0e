"""The RPCs of CommunityAdminService, which only operators may call."""

from typing import Any

from grpc import aio
from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.community.v1 import artworks_pb2 as artworkspb

from services.chassis.names import name
from services.community import wire
from services.community.core.admin import AdminOperations
from services.community.core.artworks import Artworks

Context = aio.ServicerContext[Any, Any]


class CommunityAdminServicer(communityadminrpc.CommunityAdminServiceServicer):
    """One method an RPC, in the proto's order. Operators see an artwork as its owner does."""

    def __init__(self, admin_operations: AdminOperations, artworks: Artworks, rendering: wire.Wire) -> None:
        self._admin_operations, self._artworks, self._wire = admin_operations, artworks, rendering

    async def ReconcileCounters(
        self, request: communityadminpb.ReconcileCountersRequest, context: Context
    ) -> communityadminpb.ReconcileCountersResponse:
        drift = await self._admin_operations.reconcile(mend=not request.dry_run)
        names = [name(wire.COLLECTION, each) for each in drift.artwork_ids]
        return communityadminpb.ReconcileCountersResponse(
            artwork_count=drift.looked_at, drift=drift.amount, artworks=names
        )

    async def RebuildCache(
        self, request: communityadminpb.RebuildCacheRequest, context: Context
    ) -> communityadminpb.RebuildCacheResponse:
        return communityadminpb.RebuildCacheResponse(key_count=await self._admin_operations.rebuild())

    async def HideArtwork(self, request: communityadminpb.HideArtworkRequest, context: Context) -> artworkspb.Artwork:
        card = await self._artworks.hide(wire.artwork_id(request.name), hidden=True)
        return self._wire.artwork(card, card.artwork.user_id)

    async def UnhideArtwork(
        self, request: communityadminpb.UnhideArtworkRequest, context: Context
    ) -> artworkspb.Artwork:
        card = await self._artworks.hide(wire.artwork_id(request.name), hidden=False)
        return self._wire.artwork(card, card.artwork.user_id)

    async def ListReports(
        self, request: communityadminpb.ListReportsRequest, context: Context
    ) -> communityadminpb.ListReportsResponse:
        reports, token = await self._admin_operations.reports(request.page_size, request.page_token)
        return communityadminpb.ListReportsResponse(reports=map(wire.report, reports), next_page_token=token)

    async def ListParkedCommunityWork(
        self, request: communityadminpb.ListParkedCommunityWorkRequest, context: Context
    ) -> communityadminpb.ListParkedCommunityWorkResponse:
        work = map(wire.parked, await self._admin_operations.parked())
        return communityadminpb.ListParkedCommunityWorkResponse(parked_works=work)

    async def ReleaseParkedCommunityWork(
        self, request: communityadminpb.ReleaseParkedCommunityWorkRequest, context: Context
    ) -> communityadminpb.ReleaseParkedCommunityWorkResponse:
        await self._admin_operations.release(request.loop, request.work)
        return communityadminpb.ReleaseParkedCommunityWorkResponse()
