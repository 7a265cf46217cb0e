"""The routes of shared pictures: create, read, list, publish, delete."""

import orjson
from kawaii.share.v1 import share_pb2 as sharepb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import share_reads, stubs
from gateway.rest import idempotency, request_fields
from gateway.rest.request_fields import wrong
from gateway.rest.responses import NO_STORE, Json
from gateway.routes.image_site import share_records as records
from services.chassis import names

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
MAX_OFFSET = 2**31 - 1  # what the proto's field holds
SHARE_HEADER = "x-share-token"
LIST_CACHE = {"Cache-Control": "public, s-maxage=300, max-age=60, stale-while-revalidate=120"}
LATEST_CACHE = {"Cache-Control": "public, s-maxage=600, max-age=300, stale-while-revalidate=120"}
INDEXED = {"X-Robots-Tag": "index"}


async def create(request: Request) -> Response:
    """POST /api/share; a picture that is shared already keeps its share, without a token.

    See docs/rest.md#making-shares.
    """
    share = records.draft(await request_fields.json_object(request))
    key = await idempotency.request_key(request)
    wanted = sharepb.CreateShareRequest(share=share)
    call = stubs.of(request).share.CreateShare(wanted, metadata=key.metadata)
    made = await call
    share_id = records.id_of(made.share)
    body = {
        "success": True,
        "shareId": share_id,
        "shareUrl": f"{request.app.state.settings.origin}/share?id={share_id}",
        "data": records.record(made.share),
        **({"publishToken": made.publish_token} if made.publish_token else {}),
        "message": "The picture is shared." if made.publish_token else "The picture was shared before.",
    }
    return Json(body, headers=NO_STORE | await idempotency.replayed(call))


async def read(request: Request) -> Response:
    """GET /api/share/{id} (docs/rest.md#one-share)."""
    return await shown(request, name_of(request.path_params["id"]))


async def read_by_query(request: Request) -> Response:
    """GET /api/share?id= (docs/rest.md#one-share)."""
    return await shown(request, name_of(request.query_params.get("id", "")))


async def shown(request: Request, name: str) -> Response:
    """One share."""
    share = await share_reads.of(request).find(name)
    return Response(rendered(share), media_type=Json.media_type, headers=INDEXED)


def rendered(share: sharepb.Share) -> bytes:
    """The body that shows one share."""
    return orjson.dumps({"success": True, "data": {**records.record(share), "isPublished": share.published}})


async def list_(request: Request) -> Response:
    """GET /api/share/list (docs/rest.md#share-lists)."""
    asked = page_request(request)
    found = await stubs.of(request).share.ListShares(asked)
    return Json({"success": True, "data": records.page(found, asked)}, headers=LIST_CACHE)


def page_request(request: Request) -> sharepb.ListSharesRequest:
    """The page a client asks for; a cursor overrides the offset."""
    offset = request_fields.query_integer(request, "offset", 0)
    if offset < 0:
        raise wrong("offset", "offset must not be negative.")
    cursor = request_fields.query_cursor(request, "cursor")
    limit = request_fields.query_integer(request, "limit", DEFAULT_LIMIT)
    if limit < 1:
        raise wrong("limit", "limit must be at least 1.")
    return sharepb.ListSharesRequest(
        page_size=min(MAX_LIMIT, limit),
        page_token=cursor,
        skip=0 if cursor else min(offset, MAX_OFFSET),
        style=request_fields.query_text(request, "style"),
        model=request_fields.query_text(request, "model"),
        tag=request_fields.query_text(request, "tag"),
    )


async def latest(request: Request) -> Response:
    """GET /api/share/latest (docs/rest.md#latest-shares)."""
    found = await stubs.of(request).share.ListLatestShares(sharepb.ListLatestSharesRequest())
    items = [records.item(share) for share in found.shares]
    return Json({"success": True, "data": {"items": items}}, headers=LATEST_CACHE)


async def update(request: Request) -> Response:
    """PUT /api/share/{id} with action publish (docs/rest.md#one-share)."""
    fields = await request_fields.json_object(request)
    fields.choice("action", ("publish",), "")
    token = request.headers.get(SHARE_HEADER) or fields.required("token")
    publish = sharepb.PublishShareRequest(name=name_of(request.path_params["id"]), token=token)
    key = await idempotency.request_key(request)
    call = stubs.of(request).share.PublishShare(publish, metadata=key.metadata)
    share = await call
    body = {"success": True, "published": True, "contributedAt": share.publish_time.ToMilliseconds()}
    return Json(body, headers=NO_STORE | await idempotency.replayed(call))


async def delete(request: Request) -> Response:
    """DELETE /api/share/{id} (docs/rest.md#one-share)."""
    name = name_of(request.path_params["id"])
    token = request.headers.get(SHARE_HEADER) or (await request_fields.json_object(request)).required("token")
    await stubs.of(request).share.DeleteShare(sharepb.DeleteShareRequest(name=name, token=token))
    return Json({"success": True, "deleted": True, "message": "The share is deleted."}, headers=NO_STORE)


def name_of(share_id: str) -> str:
    """The resource name of a share."""
    return names.name("shares", request_fields.identifier("id", share_id))
