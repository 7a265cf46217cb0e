"""The routes of pictures' bytes: small variants for tiles, and the stored picture of a generation (S4).

Bytes are streamed from storage with validators, and under a policy that lets a browser run nothing.
"""

from collections.abc import AsyncIterator
from http import HTTPStatus

from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.rest.responses import conditions, route
from gateway.routes.image_site.tasks import generation_request
from services.chassis import names, preconditions
from services.chassis.errors import DataLoss, InvalidArgument, KawaiiError, NotFound, PermissionDenied, invalid_field
from services.chassis.public_files import PublicFiles
from services.chassis.status import translated

FILES = "/files/"
VARIANT_SECONDS = 25.0  # one in the queue before it, one look, and the way to the bucket and back
MAX_SIDE = 100_000  # beyond any picture: storage knows how far it goes
FORMATS = {"webp": "webp", "avif": "webp", "jpeg": "jpeg", "jpg": "jpeg", "png": "png"}  # who takes AVIF takes WebP
WEEK = "public, max-age=604800, s-maxage=604800, stale-while-revalidate=86400"  # docs/rest.md#small-pictures
SOON = "public, max-age=60"  # the original in place of a variant that may be there next time
FOR_EVER = "public, max-age=31536000, immutable"
NO_VARIANT = ("INVALID_IMAGE", "IMAGE_TOO_LARGE")

SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox"}


async def img(request: Request) -> Response:
    """GET /api/img (docs/rest.md#small-pictures)."""
    wanted = _variant_request(request)
    by_accept = {} if "fm" in request.query_params else {"Vary": "Accept"}
    try:
        with translated():
            made = await stubs.of(request).storage.CreateVariant(wanted, timeout=VARIANT_SECONDS)
    except (NotFound, PermissionDenied):
        raise
    except KawaiiError as failure:
        if isinstance(failure, InvalidArgument) and failure.reason not in NO_VARIANT:
            raise
        return await _instead(request, wanted.object)
    try:
        with translated():
            return await _sent(request, made, {"Cache-Control": WEEK, **by_accept})
    except (NotFound, DataLoss):  # an old variant may go at this moment, and is made anew when it is asked for again
        return await _instead(request, wanted.object)


async def _instead(request: Request, name: str) -> Response:
    """The original in place of a variant that does not exist now; the variant may exist next time."""
    return await _sent(request, await _original(request, name), {"Cache-Control": SOON})


async def image(request: Request) -> Response:
    """GET /api/images/{id}: a stored picture of a generation, its first or the one of ?index= (S4)."""
    task_id = request_fields.identifier("id", request.path_params["id"])
    index = request_fields.query_integer(request, "index", 0)
    generation = await stubs.of(request).generation.GetGeneration(generation_request(task_id))
    name = next((output.object for output in generation.outputs if output.index == index), "")
    if not name:
        raise NotFound("This picture is not stored, or not yet. Ask again shortly.", "RESULT_NOT_FOUND")
    return await _sent(request, await _original(request, name), {"Cache-Control": FOR_EVER})


async def _original(request: Request, name: str) -> storagepb.Object:
    """The metadata of an object."""
    return await stubs.of(request).storage.GetObject(storagepb.GetObjectRequest(name=name))


def _variant_request(request: Request) -> storagepb.CreateVariantRequest:
    """The variant that the query names."""
    return storagepb.CreateVariantRequest(
        object=names.name("objects", _key(request)),
        width=_side(request, "w"),
        height=_side(request, "h"),
        quality=min(max(request_fields.query_integer(request, "q", 70), 30), 100),
        format=_format(request),
        signature=request_fields.query_text(request, "s"),
    )


def _key(request: Request) -> str:
    """The object that ?u= names: our URL, its path, or the key alone. Nothing else is ever fetched."""
    given = request.query_params.get("u", "").strip()
    if not given:
        raise invalid_field("u", "u is missing: give the URL of a picture that is stored here.")
    files = PublicFiles(*request.app.state.settings.files_base_urls)
    bare = given.removeprefix(FILES)
    if found := files.key(given) or (bare if names.is_key(bare) else ""):
        return found
    raise invalid_field("u", "u is not the URL of a picture that is stored here. Others are not fetched.")


def _side(request: Request, name: str) -> int:
    """A side in pixels; 0 when the query does not have it."""
    value = request_fields.query_integer(request, name, 0)
    if value < 0:
        raise invalid_field(name, f"{name} must not be negative.")
    return min(value, MAX_SIDE)


def _format(request: Request) -> str:
    """What ?fm= says, else WebP for those who accept it, else JPEG."""
    given = request.query_params.get("fm", "").lower()
    if given and given not in FORMATS:
        raise invalid_field("fm", "fm must be webp, jpeg or png.")
    accepts_webp = "image/webp" in request.headers.get("accept", "")
    return FORMATS.get(given) or ("webp" if accepts_webp else "jpeg")


async def _sent(request: Request, stored: storagepb.Object, headers: dict[str, str]) -> Response:
    """The response with an object, or with the part of it that the client wants; 304 when the client holds it already.

    The first bytes are read before the response begins, so that a failure is an answer of its own.

    Raises:
        FailedPrecondition: the client wants another object.
        OutOfRange: it wants a part that lies beyond the end.
    """
    given, etag = conditions(request), f'"{stored.sha256}"'
    marked = {"ETag": etag, **SAFE, **headers}
    if status := preconditions.check(request.method, given, etag):
        return Response(status_code=status, headers=marked)
    part = preconditions.part(request.method, given, etag, stored.size_bytes)
    status, partial = HTTPStatus.OK, {}
    if part:
        status, partial = HTTPStatus.PARTIAL_CONTENT, preconditions.of_part(part, stored.size_bytes)
    span = part or range(stored.size_bytes)
    sized = {"Accept-Ranges": "bytes", "Content-Length": str(len(span)), **partial, **marked}
    if request.method == "HEAD":
        return Response(headers=sized, media_type=stored.content_type)
    wanted = storagepb.ReadObjectRequest(name=stored.name, offset=span.start, limit=len(span))
    pieces = aiter(stubs.of(request).storage.ReadObject(wanted))
    first = await anext(pieces, storagepb.ReadObjectResponse())
    return StreamingResponse(_chunks(first, pieces), status, headers=sized, media_type=stored.content_type)


async def _chunks(
    first: storagepb.ReadObjectResponse, rest: AsyncIterator[storagepb.ReadObjectResponse]
) -> AsyncIterator[bytes]:
    """The bytes of the messages."""
    yield first.chunk
    async for piece in rest:
        yield piece.chunk


ROUTES = [route("/api/img", GET=img), route("/api/images/{id}", GET=image)]
