"""The RPCs of UserService and CreditService: parses, calls the core and renders."""

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.community.v1 import users_pb2_grpc as usersrpc

from services.community import user_wire
from services.community.core.credits import Credits
from services.community.core.feed import Ask, Feed
from services.community.core.users import Users
from services.community.model import Claims, Shelf
from services.community.wire import Wire

Context = aio.ServicerContext[Any, Any]


class UserServicer(usersrpc.UserServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, users: Users, feed: Feed, rendering: Wire) -> None:
        self._users, self._feed, self._wire = users, feed, rendering

    async def EnsureUser(self, request: userspb.EnsureUserRequest, context: Context) -> userspb.User:
        claims = Claims(request.display_name, request.email, request.picture_uri)
        issued = request.token_issue_time.ToMilliseconds()
        return user_wire.user(await self._users.ensure(request.viewer_id, claims, issued), request.viewer_id)

    async def GetUser(self, request: userspb.GetUserRequest, context: Context) -> userspb.User:
        return user_wire.user(await self._users.get(request.user_id), request.viewer_id)

    async def UpdatePrivacy(self, request: userspb.UpdatePrivacyRequest, context: Context) -> userspb.User:
        person = await self._users.privacy(
            request.viewer_id,
            hide_name=request.hide_name if request.HasField("hide_name") else None,
            hide_email=request.hide_email if request.HasField("hide_email") else None,
        )
        return user_wire.user(person, request.viewer_id)

    async def ListFavorites(
        self, request: userspb.ListFavoritesRequest, context: Context
    ) -> userspb.ListFavoritesResponse:
        ask = Ask(request.viewer_id, request.page_size, request.page_token)
        page = await self._feed.of_shelf(ask, Shelf.FAVORITES, request.user_id)
        shown = self._wire.artworks(page, request.viewer_id)
        return userspb.ListFavoritesResponse(artworks=shown, next_page_token=page.next_token)

    async def ListLikes(self, request: userspb.ListLikesRequest, context: Context) -> userspb.ListLikesResponse:
        ask = Ask(request.viewer_id, request.page_size, request.page_token)
        page = await self._feed.of_shelf(ask, Shelf.LIKES, request.user_id)
        shown = self._wire.artworks(page, request.viewer_id)
        return userspb.ListLikesResponse(artworks=shown, next_page_token=page.next_token)

    async def ExportUser(
        self, request: userspb.ExportUserRequest, context: Context
    ) -> AsyncIterator[userspb.ExportUserResponse]:
        async for record in self._users.export(request.viewer_id):
            yield user_wire.record(record, request.viewer_id, self._wire)

    async def EraseUser(self, request: userspb.EraseUserRequest, context: Context) -> userspb.Erasure:
        return user_wire.erasure(await self._users.erase(request.viewer_id))

    async def GetErasure(self, request: userspb.GetErasureRequest, context: Context) -> userspb.Erasure:
        return user_wire.erasure(await self._users.erasure(user_wire.erasure_id(request.name)))


class CreditServicer(creditsrpc.CreditServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, accounts: Credits) -> None:
        self._credits = accounts

    async def GetBalance(self, request: creditspb.GetBalanceRequest, context: Context) -> creditspb.Balance:
        balance = await self._credits.balance(request.viewer_id)
        return creditspb.Balance(credits=balance.credits, held_credits=balance.held)

    async def CheckIn(self, request: creditspb.CheckInRequest, context: Context) -> creditspb.CheckInStatus:
        status, added = await self._credits.check_in(request.viewer_id)
        return user_wire.check_in(status, self._credits.today(), added)

    async def GetCheckInStatus(
        self, request: creditspb.GetCheckInStatusRequest, context: Context
    ) -> creditspb.CheckInStatus:
        return user_wire.check_in(await self._credits.status(request.viewer_id), self._credits.today())
