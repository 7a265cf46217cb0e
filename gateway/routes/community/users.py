"""User profiles, and the artworks that a user made, likes and collects (docs/rest.md#people)."""

import asyncio
from typing import Any

from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import users_pb2 as userspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.routes.community import user_ids, viewers
from gateway.routes.community.artwork_json import cards
from gateway.routes.community.envelope import ok
from gateway.routes.community.parameters import cursor, limit, user_id


async def me(request: Request) -> Response:
    """GET /api/users/me."""
    viewer_id = await viewers.required(request)
    return ok(own(await _user(request, viewer_id, viewer_id)))


async def privacy(request: Request) -> Response:
    """POST /api/users/me/privacy: what is not given stays as it is."""
    viewer_id, fields = await viewers.required(request), await request_fields.json_object(request)
    wanted = userspb.UpdatePrivacyRequest(
        viewer_id=viewer_id, hide_name=_given(fields, "hideName"), hide_email=_given(fields, "hideEmail")
    )
    return ok(own(await stubs.of(request).users.UpdatePrivacy(wanted)))


async def profile(request: Request) -> Response:
    """GET /api/users/{id}/profile: for everybody, since FE-B's pages are made without a token."""
    viewer_id = await viewers.optional(request)
    return ok(public(await _user(request, viewer_id, user_id(request))))


async def summary(request: Request) -> Response:
    """GET /api/users/{id}/summary: the profile and the first page of artworks."""
    viewer_id, whose = await viewers.optional(request), user_id(request)
    user, page = await asyncio.gather(_user(request, viewer_id, whose), _artworks(request, viewer_id, whose))
    return ok({"profile": public(user), "artworks": cards(page.artworks)})


async def artworks(request: Request) -> Response:
    """GET /api/users/{id}/artworks: the owner sees drafts too, others what is published."""
    page = await _artworks(request, await viewers.optional(request), user_id(request))
    return ok(cards(page.artworks), nextCursor=page.next_page_token)


async def favorites(request: Request) -> Response:
    """GET /api/users/{id}/favorites."""
    wanted = userspb.ListFavoritesRequest(
        viewer_id=await viewers.required(request),
        user_id=user_id(request),
        page_size=limit(request),
        page_token=cursor(request),
    )
    page = await stubs.of(request).users.ListFavorites(wanted)
    return ok(cards(page.artworks), nextCursor=page.next_page_token)


async def likes(request: Request) -> Response:
    """GET /api/users/{id}/likes."""
    wanted = userspb.ListLikesRequest(
        viewer_id=await viewers.required(request),
        user_id=user_id(request),
        page_size=limit(request),
        page_token=cursor(request),
    )
    page = await stubs.of(request).users.ListLikes(wanted)
    return ok(cards(page.artworks), nextCursor=page.next_page_token)


def own(user: userspb.User) -> dict[str, Any]:
    """A person as they see themselves; camelCase here, as FE-B has it (docs/rest.md#people).

    What they hide is empty here too: FE-B reads from an empty field that it is hidden.
    """
    return {
        "id": user_ids.shown(user.user_id),
        "name": "" if user.hide_name else user.display_name,
        "email": "" if user.hide_email else user.email,
        "profilePic": user.picture_uri,
        "createdAt": user.create_time.ToMilliseconds(),
        "updatedAt": user.update_time.ToMilliseconds(),
        "hideName": user.hide_name,
        "hideEmail": user.hide_email,
    }


def public(user: userspb.User) -> dict[str, Any]:
    """A person as others see them: what they hide is empty."""
    return {
        "id": user_ids.shown(user.user_id),
        "name": user.display_name,
        "email": user.email,
        "profilePic": user.picture_uri,
        "profile_pic": user.picture_uri,
        "createdAt": user.create_time.ToMilliseconds(),
    }


def _given(fields: request_fields.Fields, name: str) -> bool | None:
    """A flag, or None when it was not given: asked with either default it answers the same only when it was."""
    value = fields.flag(name, default=True)
    return value if value == fields.flag(name, default=False) else None


async def _user(request: Request, viewer_id: str, whose: str) -> userspb.User:
    return await stubs.of(request).users.GetUser(userspb.GetUserRequest(viewer_id=viewer_id, user_id=whose))


async def _artworks(request: Request, viewer_id: str, whose: str) -> artworkspb.ListArtworksResponse:
    wanted = artworkspb.ListArtworksRequest(
        viewer_id=viewer_id, user_id=whose, page_size=limit(request), page_token=cursor(request)
    )
    return await stubs.of(request).artworks.ListArtworks(wanted)
