"""Sign-in, export of all of a user's data, and erasure."""

from typing import TYPE_CHECKING, Any, cast

from kawaii.community.v1 import users_pb2 as userspb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.rest.responses import NO_STORE
from gateway.routes.community import user_ids, viewers
from gateway.routes.community.envelope import ok
from gateway.routes.community.parameters import path_id
from gateway.routes.community.user_export import UserExport
from services.chassis.errors import Unimplemented

if TYPE_CHECKING:  # it loads the cryptography that a stack without sign-in saves
    from gateway.auth.login import Login

EXPORT_SECONDS = 300.0  # a person with many thousand artworks
FORMS = {"json": "application/json", "zip": "application/zip"}


async def login(request: Request) -> Response:
    """POST /api/auth/login: a Google id token for a token of ours (S3)."""
    fields = await request_fields.json_object(request)
    given = next((token for field in ("token", "idToken", "credential") if (token := fields.text(field).strip())), "")
    if not given:
        raise request_fields.wrong("token", "token is missing. Send the id token that Google gave your page.")
    if (exchange := cast("Login | None", request.app.state.login)) is None:
        raise Unimplemented("This site does not sign people in by Google. Its operator has to name a client first.")
    session = await exchange.exchange(given)
    await viewers.known_users(request).tell(stubs.of(request).users, session.person)
    person = session.person
    user = {"id": user_ids.shown(person.id), "name": person.name, "email": person.email, "profilePic": person.picture}
    return ok({"token": session.token, "expiresIn": session.expires_in, "user": user})


async def export(request: Request) -> Response:
    """GET /api/users/me/export: everything that is kept of the viewer; ?format=zip brings the files along."""
    form = request_fields.Fields(request.query_params).choice("format", tuple(FORMS), "json")
    wanted = userspb.ExportUserRequest(viewer_id=await viewers.required(request))
    records = stubs.of(request).users.ExportUser(wanted, timeout=EXPORT_SECONDS)
    # A refusal comes with the first record, while it can still be an answer of its own.
    taken = UserExport(cast("userspb.ExportUserResponse", await records.read()), records)
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
