"""The routes of pictures' bytes: small variants for tiles, and the stored picture of a generation (S4)."""

from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import request_fields, stored_bytes
from gateway.rest.routing import route
from gateway.routes.image_site.task_details import named
from services.chassis import names
from services.chassis.errors import DataLoss, InvalidArgument, KawaiiError, NotFound, PermissionDenied
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


async def img(request: Request) -> Response:
    """GET /api/img (docs/rest.md#small-pictures)."""
    wanted = wish(request)
    by_accept = {} if "fm" in request.query_params else {"Vary": "Accept"}
    try:
        with translated():
            made = await stubs.of(request).storage.CreateVariant(wanted, timeout=VARIANT_SECONDS)
    except (NotFound, PermissionDenied):
        raise
    except KawaiiError as failure:
        if isinstance(failure, InvalidArgument) and failure.reason not in NO_VARIANT:
            raise
        return await instead(request, wanted.object)
    try:
        with translated():
            return await stored_bytes.sent(request, made, {"Cache-Control": WEEK, **by_accept})
    except (NotFound, DataLoss):  # an old variant may go at this moment, and is made anew when it is asked for again
        return await instead(request, wanted.object)


async def instead(request: Request, name: str) -> Response:
    """The original in place of a variant that is not there, or no more; the variant may be there next time."""
    return await stored_bytes.sent(request, await original(request, name), {"Cache-Control": SOON})


async def image(request: Request) -> Response:
    """GET /api/images/{id}: a stored picture of a generation, its first or the one of ?index= (S4)."""
    task_id = request_fields.identifier("id", request.path_params["id"])
    index = request_fields.query_integer(request, "index", 0)
    generation = await stubs.of(request).generation.GetGeneration(named(task_id))
    name = next((output.object for output in generation.outputs if output.index == index), "")
    if not name:
        raise NotFound("This picture is not stored, or not yet. Ask again shortly.", "RESULT_NOT_FOUND")
    return await stored_bytes.sent(request, await original(request, name), {"Cache-Control": FOR_EVER})


async def original(request: Request, name: str) -> storagepb.Object:
    """What is known of an object."""
    return await stubs.of(request).storage.GetObject(storagepb.GetObjectRequest(name=name))


def wish(request: Request) -> storagepb.CreateVariantRequest:
    """Which variant the query asks for."""
    return storagepb.CreateVariantRequest(
        object=names.name("objects", key(request)),
        width=side(request, "w"),
        height=side(request, "h"),
        quality=min(max(request_fields.query_integer(request, "q", 70), 30), 100),
        format=format_of(request),
        signature=request_fields.query_text(request, "s"),
    )


def key(request: Request) -> str:
    """The object that ?u= names: our URL, its path, or the key alone. Nothing else is ever fetched."""
    given = request.query_params.get("u", "").strip()
    if not given:
        raise request_fields.wrong("u", "u is missing: give the URL of a picture that is stored here.")
    files = PublicFiles(*request.app.state.settings.files_base_urls)
    bare = given.removeprefix(FILES)
    if found := files.key(given) or (bare if names.is_key(bare) else ""):
        return found
    raise request_fields.wrong("u", "u is not the URL of a picture that is stored here. Others are not fetched.")


def side(request: Request, name: str) -> int:
    """Pixels; 0 when nothing is said."""
    value = request_fields.query_integer(request, name, 0)
    if value < 0:
        raise request_fields.wrong(name, f"{name} must not be negative.")
    return min(value, MAX_SIDE)


def format_of(request: Request) -> str:
    """What ?fm= says, else WebP for those who accept it, else JPEG."""
    given = request.query_params.get("fm", "").lower()
    if given and given not in FORMATS:
        raise request_fields.wrong("fm", "fm must be webp, jpeg or png.")
    accepts_webp = "image/webp" in request.headers.get("accept", "")
    return FORMATS.get(given) or ("webp" if accepts_webp else "jpeg")


ROUTES = [route("/api/img", GET=img), route("/api/images/{id}", GET=image)]
