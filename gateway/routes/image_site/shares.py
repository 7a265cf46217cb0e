"""The routes of shared pictures: create, read, list, publish, delete (docs/rest.md#making-shares).

A share is rendered by the names that the seed gave its fields.
"""

from datetime import UTC
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.share.v1 import share_pb2 as sharepb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import batched_reads, stubs
from gateway.rest import idempotency, request_fields
from gateway.rest.request_fields import Fields, web_url
from gateway.rest.responses import NO_STORE, Json
from services.chassis import names
from services.chassis.errors import invalid_field
from services.chassis.names import parse_id

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
MAX_OFFSET = 2**31 - 1  # what the proto's field holds
SHARE_HEADER = "x-share-token"
LIST_CACHE = {"Cache-Control": "public, s-maxage=300, max-age=60, stale-while-revalidate=120"}
LATEST_CACHE = {"Cache-Control": "public, s-maxage=600, max-age=300, stale-while-revalidate=120"}
INDEXED = {"X-Robots-Tag": "index"}

MAX_TAGS = 20  # more are dropped, as the seed does
MAX_MILLISECONDS = 253_402_300_799_999  # the last moment of the year 9999, where Timestamp ends


async def create(request: Request) -> Response:
    """POST /api/share; a picture that is shared already keeps its share, without a token.

    See docs/rest.md#making-shares.
    """
    share = _draft(await request_fields.json_object(request))
    key = await idempotency.request_key(request)
    wanted = sharepb.CreateShareRequest(share=share)
    call = stubs.of(request).share.CreateShare(wanted, metadata=key.metadata)
    made = await call
    share_id = _id_of(made.share)
    body = {
        "success": True,
        "shareId": share_id,
        "shareUrl": f"{request.app.state.settings.origin}/share?id={share_id}",
        "data": _record(made.share),
        **({"publishToken": made.publish_token} if made.publish_token else {}),
        "message": "The picture is shared." if made.publish_token else "The picture was shared before.",
    }
    return Json(body, headers=NO_STORE | await idempotency.replayed(call))


async def read(request: Request) -> Response:
    """GET /api/share/{id} (docs/rest.md#one-share)."""
    return await _shown(request, _name_of(request.path_params["id"]))


async def read_by_query(request: Request) -> Response:
    """GET /api/share?id= (docs/rest.md#one-share)."""
    return await _shown(request, _name_of(request.query_params.get("id", "")))


async def _shown(request: Request, name: str) -> Response:
    """One share."""
    share = await batched_reads.of(request).find(name)
    return Response(rendered(share), media_type=Json.media_type, headers=INDEXED)


def rendered(share: sharepb.Share) -> bytes:
    """The body that shows one share."""
    return orjson.dumps({"success": True, "data": {**_record(share), "isPublished": share.published}})


async def list_(request: Request) -> Response:
    """GET /api/share/list (docs/rest.md#share-lists)."""
    asked = _page_request(request)
    found = await stubs.of(request).share.ListShares(asked)
    return Json({"success": True, "data": _page(found, asked)}, headers=LIST_CACHE)


def _page_request(request: Request) -> sharepb.ListSharesRequest:
    """The page a client asks for; a cursor overrides the offset."""
    offset = request_fields.query_integer(request, "offset", 0)
    if offset < 0:
        raise invalid_field("offset", "offset must not be negative.")
    cursor = request_fields.query_cursor(request, "cursor")
    limit = request_fields.query_integer(request, "limit", DEFAULT_LIMIT)
    if limit < 1:
        raise invalid_field("limit", "limit must be at least 1.")
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
    items = [_item(share) for share in found.shares]
    return Json({"success": True, "data": {"items": items}}, headers=LATEST_CACHE)


async def update(request: Request) -> Response:
    """PUT /api/share/{id} with action publish (docs/rest.md#one-share)."""
    fields = await request_fields.json_object(request)
    fields.choice("action", ("publish",), "")
    token = request.headers.get(SHARE_HEADER) or fields.required("token")
    publish = sharepb.PublishShareRequest(name=_name_of(request.path_params["id"]), token=token)
    key = await idempotency.request_key(request)
    call = stubs.of(request).share.PublishShare(publish, metadata=key.metadata)
    share = await call
    body = {"success": True, "published": True, "contributedAt": share.publish_time.ToMilliseconds()}
    return Json(body, headers=NO_STORE | await idempotency.replayed(call))


async def delete(request: Request) -> Response:
    """DELETE /api/share/{id} (docs/rest.md#one-share)."""
    name = _name_of(request.path_params["id"])
    token = request.headers.get(SHARE_HEADER) or (await request_fields.json_object(request)).required("token")
    await stubs.of(request).share.DeleteShare(sharepb.DeleteShareRequest(name=name, token=token))
    return Json({"success": True, "deleted": True, "message": "The share is deleted."}, headers=NO_STORE)


def _name_of(share_id: str) -> str:
    """The resource name of a share."""
    return names.name("shares", request_fields.identifier("id", share_id))


def _draft(fields: Fields) -> sharepb.Share:
    """What a client wants to share; the share service checks what the values may be."""
    return sharepb.Share(
        generated_uri=web_url("generatedUrl", fields.required("generatedUrl").strip()),
        original_uri=_original(fields.text("originalUrl").strip()),
        prompt=fields.text("prompt"),
        style=fields.text("style"),
        model=fields.text("model"),
        stored=fields.flag("isR2Stored", default=False),
        seo_tags=fields.texts("seoTags")[:MAX_TAGS],
        generate_time=_moment(fields.number("timestamp")),
        unlisted=fields.flag("unlisted", default=False),
    )


def _original(value: str) -> str:
    """The URL of the picture it was made from, or an empty string."""
    return web_url("originalUrl", value) if value else ""


def _moment(milliseconds: float | None) -> Timestamp | None:
    """A client's time; None when it gave none."""
    if milliseconds is None:
        return None
    if not 0 <= milliseconds <= MAX_MILLISECONDS:
        raise invalid_field("timestamp", "timestamp must be milliseconds since 1970.")
    time = Timestamp()
    time.FromMilliseconds(int(milliseconds))
    return time


def _item(share: sharepb.Share) -> dict[str, Any]:
    """A share as lists show it."""
    made = share.generate_time if share.HasField("generate_time") else share.create_time
    return {
        "id": _id_of(share),
        "generatedUrl": share.generated_uri,
        "style": share.style,
        "timestamp": made.ToMilliseconds(),
        "createdAt": _iso(share.create_time),
        "originalUrl": share.original_uri,
    }


def _record(share: sharepb.Share) -> dict[str, Any]:
    """The whole share."""
    return {
        **_item(share),
        "prompt": share.prompt,
        "isR2Stored": share.stored,
        "seoTags": list(share.seo_tags),
        "seo": _seo(share.seo),
        "published": share.published,
        **({"model": share.model} if share.model else {}),
        **({"unlisted": True} if share.unlisted else {}),
        **({"contributedAt": share.publish_time.ToMilliseconds()} if share.HasField("publish_time") else {}),
    }


def _seo(found: sharepb.Share.Seo) -> dict[str, Any]:
    """Titles, descriptions and keywords for search engines."""
    return {
        "modelLabel": found.model_label,
        "titleJa": found.title_ja,
        "titleEn": found.title_en,
        "descJa": found.description_ja,
        "descEn": found.description_en,
        "keywordsJa": list(found.keywords_ja),
        "keywordsEn": list(found.keywords_en),
    }


def _page(found: sharepb.ListSharesResponse, asked: sharepb.ListSharesRequest) -> dict[str, Any]:
    """A page of the gallery; the cursor is a number, and absent at the end (docs/rest.md#share-lists)."""
    token = found.next_page_token
    return {
        "items": [_item(share) for share in found.shares],
        "total": found.total_size,
        "limit": asked.page_size,
        "offset": asked.skip,
        "hasMore": bool(token),
        **({"cursor": int(token)} if token else {}),
        "filter": _filter(asked),
    }


def _filter(asked: sharepb.ListSharesRequest) -> str:
    """The filter in the seed's words: all, style:x, model:x or tag:x."""
    given = {"style": asked.style, "model": asked.model, "tag": asked.tag}
    return ",".join(f"{name}:{value}" for name, value in given.items() if value) or "all"


def _id_of(share: sharepb.Share) -> str:
    """The share's id."""
    return parse_id("shares", share.name)


def _iso(time: Timestamp) -> str:
    """A moment as JavaScript's toISOString writes it."""
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
