"""The routes of users: sign-in, profiles, lists of their artworks, export of their data, erasure.

See docs/rest.md#people.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import users_pb2 as userspb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.rest.responses import NO_STORE
from gateway.routes.community import viewers
from gateway.routes.community.parameters import cursor, limit, path_id, shown_user_id, user_id
from gateway.routes.community.rendering import cards, ok
from gateway.routes.community.user_export import UserExport
from services.chassis.errors import Unimplemented, invalid_field

EXPORT_SECONDS = 300.0  # a person with many thousand artworks
FORMS = {"json": "application/json", "zip": "application/zip"}


async def me(request: Request) -> Response:
    """GET /api/users/me."""
    viewer_id = await viewers.required(request)
    return ok(_own(await _user(request, viewer_id, viewer_id)))


async def privacy(request: Request) -> Response:
    """POST /api/users/me/privacy: what is not given stays as it is."""
    viewer_id, fields = await viewers.required(request), await request_fields.json_object(request)
    wanted = userspb.UpdatePrivacyRequest(
        viewer_id=viewer_id, hide_name=_given(fields, "hideName"), hide_email=_given(fields, "hideEmail")
    )
    return ok(_own(await stubs.of(request).users.UpdatePrivacy(wanted)))


async def profile(request: Request) -> Response:
    """GET /api/users/{id}/profile: for everybody, since FE-B's pages are made without a token."""
    viewer_id = await viewers.optional(request)
    return ok(_public(await _user(request, viewer_id, user_id(request))))


async def summary(request: Request) -> Response:
    """GET /api/users/{id}/summary: the profile and the first page of artworks."""
    viewer_id, whose = await viewers.optional(request), user_id(request)
    user, page = await asyncio.gather(_user(request, viewer_id, whose), _artworks(request, viewer_id, whose))
    return ok({"profile": _public(user), "artworks": cards(page.artworks)})


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


def _own(user: userspb.User) -> dict[str, Any]:
    """A person as they see themselves; camelCase here, as FE-B has it (docs/rest.md#people).

    What they hide is empty here too: FE-B reads from an empty field that it is hidden.
    """
    return {
        "id": shown_user_id(user.user_id),
        "name": "" if user.hide_name else user.display_name,
        "email": "" if user.hide_email else user.email,
        "profilePic": user.picture_uri,
        "createdAt": user.create_time.ToMilliseconds(),
        "updatedAt": user.update_time.ToMilliseconds(),
        "hideName": user.hide_name,
        "hideEmail": user.hide_email,
    }


def _public(user: userspb.User) -> dict[str, Any]:
    """A user as others see them: what they hide is empty."""
    return {
        "id": shown_user_id(user.user_id),
        "name": user.display_name,
        "email": user.email,
        "profilePic": user.picture_uri,
        "profile_pic": user.picture_uri,
        "createdAt": user.create_time.ToMilliseconds(),
    }


def _given(fields: request_fields.Fields, name: str) -> bool | None:
    """A flag, or None when the body does not have it (read with either default, a given flag is the same)."""
    value = fields.flag(name, default=True)
    return value if value == fields.flag(name, default=False) else None


async def _user(request: Request, viewer_id: str, whose: str) -> userspb.User:
    return await stubs.of(request).users.GetUser(userspb.GetUserRequest(viewer_id=viewer_id, user_id=whose))


async def _artworks(request: Request, viewer_id: str, whose: str) -> artworkspb.ListArtworksResponse:
    wanted = artworkspb.ListArtworksRequest(
        viewer_id=viewer_id, user_id=whose, page_size=limit(request), page_token=cursor(request)
    )
    return await stubs.of(request).artworks.ListArtworks(wanted)


if TYPE_CHECKING:  # it loads the cryptography that a stack without sign-in saves
    from gateway.auth.login import Login


async def login(request: Request) -> Response:
    """POST /api/auth/login: a Google id token for a token of ours (S3)."""
    fields = await request_fields.json_object(request)
    given = next((token for field in ("token", "idToken", "credential") if (token := fields.text(field).strip())), "")
    if not given:
        raise invalid_field("token", "token is missing. Send the id token that Google gave your page.")
    if (exchange := cast("Login | None", request.app.state.login)) is None:
        raise Unimplemented("This site does not sign people in by Google. Its operator has to name a client first.")
    session = await exchange.exchange(given)
    await viewers.known_users(request).ensure(stubs.of(request).users, session.person)
    person = session.person
    user = {
        "id": shown_user_id(person.id),
        "name": person.name,
        "email": person.email,
        "profilePic": person.picture,
    }
    return ok({"token": session.token, "expiresIn": session.expires_in, "user": user})


async def export(request: Request) -> Response:
    """GET /api/users/me/export: everything that is kept of the viewer; ?format=zip brings the files along."""
    form = request_fields.Fields(request.query_params).choice("format", tuple(FORMS), "json")
    wanted = userspb.ExportUserRequest(viewer_id=await viewers.required(request))
    records = aiter(stubs.of(request).users.ExportUser(wanted, timeout=EXPORT_SECONDS))
    # A refusal comes with the first record, while it can still be an answer of its own.
    taken = UserExport(await anext(records), records)
    body = taken.archive(stubs.of(request).storage) if form == "zip" else taken.document()
    headers = NO_STORE | {"Content-Disposition": f'attachment; filename="kawaii-export.{form}"'}
    return StreamingResponse(body, media_type=FORMS[form], headers=headers)


async def erase(request: Request) -> Response:
    """DELETE /api/users/me: forget the viewer everywhere; answers a receipt."""
    viewer_id = await viewers.required(request)
    erasure = await stubs.of(request).users.EraseUser(userspb.EraseUserRequest(viewer_id=viewer_id))
    viewers.known_users(request).forget(viewer_id)
    return ok(_receipt(erasure))


async def receipt(request: Request) -> Response:
    """GET /api/erasures/{id}: how far an erasure has come; the receipt names nobody, so it needs no token."""
    wanted = userspb.GetErasureRequest(name=f"erasures/{path_id(request)}")
    return ok(_receipt(await stubs.of(request).users.GetErasure(wanted)))


def _receipt(erasure: userspb.Erasure) -> dict[str, Any]:
    return {
        "receiptId": erasure.name.rpartition("/")[2],
        "artworks": erasure.artwork_count,
        "likes": erasure.like_count,
        "favorites": erasure.favorite_count,
        "files": erasure.object_count,
        "filesRemaining": erasure.remaining_object_count,
        "erasedAt": erasure.create_time.ToMilliseconds(),
    }
