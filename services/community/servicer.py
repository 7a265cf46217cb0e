"""The RPCs of ArtworkService, UserService and CreditService: parses, calls the core and renders."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.community.v1 import users_pb2_grpc as usersrpc

from services.chassis.idempotency import IdempotencyKeys
from services.chassis.names import parse_key
from services.chassis.protobuf import checked_milliseconds, scalar
from services.community import wire
from services.community.core.artworks import Artworks
from services.community.core.credits import Credits
from services.community.core.feed import Feed, PageRequest
from services.community.core.orders import NewOrder, Orders
from services.community.core.reactions import Reactions
from services.community.core.saving import Save, Saving
from services.community.core.users import Users
from services.community.model import Card, Claims, Reaction, Shelf

Context = aio.ServicerContext[Any, Any]


class ArtworkServicer(artworksrpc.ArtworkServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(
        self,
        *,
        artworks: Artworks,
        saving: Saving,
        orders: Orders,
        reactions: Reactions,
        feed: Feed,
        replays: IdempotencyKeys,
        rendering: wire.Wire,
    ) -> None:
        self._artworks, self._saving, self._orders = artworks, saving, orders
        self._reactions, self._feed, self._replays, self._wire = reactions, feed, replays, rendering

    async def CreateArtwork(
        self, request: artworkspb.CreateArtworkRequest, context: Context
    ) -> artworkspb.CreateArtworkResponse:
        order = NewOrder(
            prompt=request.prompt,
            model=request.model,
            title=request.title,
            aspect_ratio=request.aspect_ratio,
            output_format=request.output_format,
            image_uris=tuple(request.image_uris),
            parameters={key: scalar(value) for key, value in request.parameters.fields.items()},
        )
        answer = await self._orders.create(
            request.viewer_id, order, request.request_id, request.request_digest, request.quota_subjects
        )
        return self._wire.created(answer, request.viewer_id)

    async def SaveArtwork(self, request: artworkspb.SaveArtworkRequest, context: Context) -> artworkspb.Artwork:
        save = Save(
            title=request.title,
            image_uri=request.image_uri,
            prompt=request.prompt,
            model=request.model,
            aspect_ratio=request.aspect_ratio,
            output_format=request.output_format,
            original_uri=request.original_uri,
            publish=request.publish,
        )
        return await self._once(request.viewer_id, context, partial(self._saving.save, request.viewer_id, save))

    async def UploadArtwork(
        self, request: artworkspb.UploadArtworkRequest, context: Context
    ) -> artworkspb.UploadArtworkResponse:
        key = parse_key(request.object)
        card = await self._saving.upload(request.viewer_id, key, request.title, draft=request.draft)
        artwork = self._wire.artwork(card, request.viewer_id) if card else None
        return artworkspb.UploadArtworkResponse(artwork=artwork, uri=self._wire.uri(key))

    async def GetArtwork(self, request: artworkspb.GetArtworkRequest, context: Context) -> artworkspb.Artwork:
        card = await self._artworks.get(request.viewer_id, wire.artwork_id(request.name))
        return self._wire.artwork(card, request.viewer_id)

    async def FindArtwork(self, request: artworkspb.FindArtworkRequest, context: Context) -> artworkspb.Artwork:
        return self._wire.artwork(await self._artworks.find(request.viewer_id, request.id), request.viewer_id)

    async def BatchGetArtworkStates(
        self, request: artworkspb.BatchGetArtworkStatesRequest, context: Context
    ) -> artworkspb.BatchGetArtworkStatesResponse:
        states = await self._feed.states(request.viewer_id, wire.artwork_ids(request.names))
        return artworkspb.BatchGetArtworkStatesResponse(states=map(wire.state, states))

    async def ListArtworks(
        self, request: artworkspb.ListArtworksRequest, context: Context
    ) -> artworkspb.ListArtworksResponse:
        page_request = PageRequest(request.viewer_id, request.page_size, request.page_token)
        page = await self._feed.of_user(page_request, request.user_id)
        shown = self._wire.artworks(page, request.viewer_id)
        return artworkspb.ListArtworksResponse(artworks=shown, next_page_token=page.next_token)

    async def PublishArtwork(self, request: artworkspb.PublishArtworkRequest, context: Context) -> artworkspb.Artwork:
        identifier = wire.artwork_id(request.name)
        publish = partial(self._artworks.publish, request.viewer_id, identifier)
        return await self._once(request.viewer_id, context, publish)

    async def UnpublishArtwork(
        self, request: artworkspb.UnpublishArtworkRequest, context: Context
    ) -> artworkspb.Artwork:
        card = await self._artworks.unpublish(request.viewer_id, wire.artwork_id(request.name))
        return self._wire.artwork(card, request.viewer_id)

    async def RegenerateArtwork(
        self, request: artworkspb.RegenerateArtworkRequest, context: Context
    ) -> artworkspb.RegenerateArtworkResponse:
        artwork_id = wire.artwork_id(request.name)
        answer = await self._orders.regenerate(
            request.viewer_id, artwork_id, request.request_id, request.request_digest, request.quota_subjects
        )
        return self._wire.regenerated(answer, request.viewer_id)

    async def DeleteArtwork(self, request: artworkspb.DeleteArtworkRequest, context: Context) -> Empty:
        await self._artworks.delete(request.viewer_id, wire.artwork_id(request.name))
        return Empty()

    async def LikeArtwork(self, request: artworkspb.LikeArtworkRequest, context: Context) -> artworkspb.ArtworkState:
        return await self._react(request.viewer_id, request.name, Reaction.LIKE, wanted=True)

    async def UnlikeArtwork(
        self, request: artworkspb.UnlikeArtworkRequest, context: Context
    ) -> artworkspb.ArtworkState:
        return await self._react(request.viewer_id, request.name, Reaction.LIKE, wanted=False)

    async def FavoriteArtwork(
        self, request: artworkspb.FavoriteArtworkRequest, context: Context
    ) -> artworkspb.ArtworkState:
        return await self._react(request.viewer_id, request.name, Reaction.FAVORITE, wanted=True)

    async def UnfavoriteArtwork(
        self, request: artworkspb.UnfavoriteArtworkRequest, context: Context
    ) -> artworkspb.ArtworkState:
        return await self._react(request.viewer_id, request.name, Reaction.FAVORITE, wanted=False)

    async def ListFeed(self, request: artworkspb.ListFeedRequest, context: Context) -> artworkspb.ListFeedResponse:
        page_request = PageRequest(request.viewer_id, request.page_size, request.page_token)
        read = self._feed.hottest if request.order == artworkspb.FEED_ORDER_HOT else self._feed.newest
        page = await read(page_request)
        shown = self._wire.artworks(page, request.viewer_id)
        return artworkspb.ListFeedResponse(artworks=shown, next_page_token=page.next_token)

    async def ListTrending(
        self, request: artworkspb.ListTrendingRequest, context: Context
    ) -> artworkspb.ListTrendingResponse:
        page_request = PageRequest(request.viewer_id, request.page_size, request.page_token, request.skip)
        page = await self._feed.hottest(page_request, wire.window(request.window), wire.category(request.category))
        shown = self._wire.artworks(page, request.viewer_id)
        return artworkspb.ListTrendingResponse(artworks=shown, next_page_token=page.next_token)

    async def GetHotness(self, request: artworkspb.GetHotnessRequest, context: Context) -> artworkspb.Hotness:
        hotness = await self._feed.hotness(request.viewer_id, wire.artwork_id(request.name))
        artwork = self._wire.artwork(hotness.card, request.viewer_id)
        score, word = artwork.hot_score, artwork.hot_level
        return artworkspb.Hotness(artwork=artwork, score=score, level=word, rank=hotness.rank, decay=hotness.decay)

    async def BatchGetHotness(
        self, request: artworkspb.BatchGetHotnessRequest, context: Context
    ) -> artworkspb.BatchGetHotnessResponse:
        found = await self._feed.hotnesses(request.viewer_id, wire.artwork_ids(request.names))
        hotness = [wire.hotness(each.card.artwork, each.rank) for each in found]
        return artworkspb.BatchGetHotnessResponse(hotness=hotness)

    async def ReportArtwork(self, request: artworkspb.ReportArtworkRequest, context: Context) -> Empty:
        await self._reactions.report(request.viewer_id, wire.artwork_id(request.name), request.reason)
        return Empty()

    async def _once(self, viewer_id: str, context: Context, work: Callable[[], Awaitable[Card]]) -> artworkspb.Artwork:
        """Do a request once by its idempotency key. Of the answer only the name is stored, no personal data."""

        async def named() -> artworkspb.Artwork:
            return artworkspb.Artwork(name=f"artworks/{(await work()).artwork.id}")

        kept = await self._replays.once(context, artworkspb.Artwork, named)
        return self._wire.artwork(await self._artworks.owned(viewer_id, wire.artwork_id(kept.name)), viewer_id)

    async def _react(
        self, viewer_id: str, resource_name: str, reaction: Reaction, *, wanted: bool
    ) -> artworkspb.ArtworkState:
        identifier = wire.artwork_id(resource_name)
        return wire.state(await self._reactions.react(viewer_id, identifier, reaction, wanted=wanted))


class UserServicer(usersrpc.UserServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, users: Users, feed: Feed, rendering: wire.Wire) -> None:
        self._users, self._feed, self._wire = users, feed, rendering

    async def EnsureUser(self, request: userspb.EnsureUserRequest, context: Context) -> userspb.User:
        claims = Claims(request.display_name, request.email, request.picture_uri)
        issued = checked_milliseconds("token_issue_time", request.token_issue_time)
        return wire.user(await self._users.ensure(request.viewer_id, claims, issued), request.viewer_id)

    async def GetUser(self, request: userspb.GetUserRequest, context: Context) -> userspb.User:
        return wire.user(await self._users.get(request.user_id), request.viewer_id)

    async def UpdatePrivacy(self, request: userspb.UpdatePrivacyRequest, context: Context) -> userspb.User:
        person = await self._users.privacy(
            request.viewer_id,
            hide_name=request.hide_name if request.HasField("hide_name") else None,
            hide_email=request.hide_email if request.HasField("hide_email") else None,
        )
        return wire.user(person, request.viewer_id)

    async def ListFavorites(
        self, request: userspb.ListFavoritesRequest, context: Context
    ) -> userspb.ListFavoritesResponse:
        page_request = PageRequest(request.viewer_id, request.page_size, request.page_token)
        page = await self._feed.of_shelf(page_request, Shelf.FAVORITES, request.user_id)
        shown = self._wire.artworks(page, request.viewer_id)
        return userspb.ListFavoritesResponse(artworks=shown, next_page_token=page.next_token)

    async def ListLikes(self, request: userspb.ListLikesRequest, context: Context) -> userspb.ListLikesResponse:
        page_request = PageRequest(request.viewer_id, request.page_size, request.page_token)
        page = await self._feed.of_shelf(page_request, Shelf.LIKES, request.user_id)
        shown = self._wire.artworks(page, request.viewer_id)
        return userspb.ListLikesResponse(artworks=shown, next_page_token=page.next_token)

    async def ExportUser(
        self, request: userspb.ExportUserRequest, context: Context
    ) -> AsyncIterator[userspb.ExportUserResponse]:
        async for record in self._users.export(request.viewer_id):
            yield wire.record(record, request.viewer_id, self._wire)

    async def EraseUser(self, request: userspb.EraseUserRequest, context: Context) -> userspb.Erasure:
        return wire.erasure(await self._users.erase(request.viewer_id))

    async def GetErasure(self, request: userspb.GetErasureRequest, context: Context) -> userspb.Erasure:
        return wire.erasure(await self._users.erasure(wire.erasure_id(request.name)))


class CreditServicer(creditsrpc.CreditServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, accounts: Credits) -> None:
        self._credits = accounts

    async def GetBalance(self, request: creditspb.GetBalanceRequest, context: Context) -> creditspb.Balance:
        balance = await self._credits.balance(request.viewer_id)
        return creditspb.Balance(credits=balance.credits, held_credits=balance.held)

    async def CheckIn(self, request: creditspb.CheckInRequest, context: Context) -> creditspb.CheckInStatus:
        status, added = await self._credits.check_in(request.viewer_id)
        return wire.check_in(status, self._credits.today(), added)

    async def GetCheckInStatus(
        self, request: creditspb.GetCheckInStatusRequest, context: Context
    ) -> creditspb.CheckInStatus:
        return wire.check_in(await self._credits.status(request.viewer_id), self._credits.today())
