"""The route by which an operator exports all records (S4); it is off unless EXPORT_TOKEN is set."""

import hmac
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from gateway.rest.responses import NO_STORE, Json
from gateway.rest.routing import route
from gateway.routes import export_records
from services.chassis.errors import NotFound, PermissionDenied

OFF = "The export is switched off. The operator can turn it on with EXPORT_TOKEN."
WRONG = "The export needs the operator's token: send it as `Authorization: Bearer …`."
SCHEME = "bearer "
HEADERS = {**NO_STORE, "Content-Disposition": 'attachment; filename="kawaii-export_records.json"'}


async def export(request: Request) -> Response:
    """GET /api/export: one JSON document with all records, as records.py writes it.

    Raises:
        NotFound: there is no EXPORT_TOKEN.
        PermissionDenied: the request does not carry it.
    """
    settings = request.app.state.settings
    permit(request.headers.get("authorization", ""), settings.export_token.get_secret_value())
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type=Json.media_type)
    pieces = export_records.document(stubs.of(request), settings.origin)
    first = await anext(pieces)
    return StreamingResponse(following(first, pieces), headers=HEADERS, media_type=Json.media_type)


def permit(given: str, token: str) -> None:
    """Compare what a request carries with the token, in the same time whatever it is."""
    if not token:
        raise NotFound(OFF)
    bearer = given[len(SCHEME) :] if given.lower().startswith(SCHEME) else ""
    if not hmac.compare_digest(bearer.encode(), token.encode()):
        raise PermissionDenied(WRONG)


async def following(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The piece that is here, and those to come."""
    yield first
    async for piece in rest:
        yield piece


ROUTES = [route("/api/export", GET=export)]
