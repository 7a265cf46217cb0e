"""Shows, publishes, removes and reports one artwork."""

from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import idempotency, request_fields
from gateway.routes.community import viewers
from gateway.routes.community.artwork_json import detail, id_of, status_of
from gateway.routes.community.envelope import ok
from gateway.routes.community.parameters import artwork_name, path_id


async def read(request: Request) -> Response:
    """GET /api/artworks/{id} (docs/rest.md#one-artwork)."""
    wanted = artworkspb.GetArtworkRequest(viewer_id=await viewers.optional(request), name=artwork_name(request))
    artwork = await stubs.of(request).artworks.GetArtwork(wanted)
    answer = ok(detail(artwork))
    if artwork.state != artworkspb.Artwork.STATE_PUBLISHED:
        answer.headers["X-Robots-Tag"] = "noindex"  # unlisted: it opens for whoever holds the id
    return answer


async def publish(request: Request) -> Response:
    """POST /api/artworks/{id}/publish (docs/rest.md#publication)."""
    wanted = artworkspb.PublishArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    key = await idempotency.request_key(request)
    call = stubs.of(request).artworks.PublishArtwork(wanted, metadata=key.metadata)
    answer = _stated(await call)
    answer.headers.update(await idempotency.replayed(call))
    return answer


async def unpublish(request: Request) -> Response:
    """POST /api/artworks/{id}/unpublish (docs/rest.md#publication)."""
    wanted = artworkspb.UnpublishArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return _stated(await stubs.of(request).artworks.UnpublishArtwork(wanted))


async def delete(request: Request) -> Response:
    """DELETE /api/artworks/{id} (docs/rest.md#publication)."""
    wanted = artworkspb.DeleteArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    await stubs.of(request).artworks.DeleteArtwork(wanted)
    return ok({"deleted": True, "id": path_id(request)})


async def report(request: Request) -> Response:
    """POST /api/artworks/{id}/report: tell the operators that something is wrong with it."""
    fields = await request_fields.json_object(request)
    wanted = artworkspb.ReportArtworkRequest(
        viewer_id=await viewers.required(request), name=artwork_name(request), reason=fields.required("reason")
    )
    await stubs.of(request).artworks.ReportArtwork(wanted)
    return ok({"reported": True, "id": path_id(request)})


def _stated(artwork: artworkspb.Artwork) -> Response:
    return ok({"status": status_of(artwork), "id": id_of(artwork), "slug": artwork.slug})
