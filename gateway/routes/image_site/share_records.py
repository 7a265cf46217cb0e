"""Reads a picture to share, and renders share records by the names the seed gave their fields.

See docs/rest.md#making-shares.
"""

from datetime import UTC
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.share.v1 import share_pb2 as sharepb

from gateway.rest.request_fields import Fields, web_url, wrong
from services.chassis.names import parse_id

MAX_TAGS = 20  # more are dropped, as the seed does
MAX_MILLISECONDS = 253_402_300_799_999  # the last moment of the year 9999, where Timestamp ends


def draft(fields: Fields) -> sharepb.Share:
    """What a client wants to share; the share service checks what the values may be."""
    return sharepb.Share(
        generated_uri=web_url("generatedUrl", fields.required("generatedUrl").strip()),
        original_uri=original(fields.text("originalUrl").strip()),
        prompt=fields.text("prompt"),
        style=fields.text("style"),
        model=fields.text("model"),
        stored=fields.flag("isR2Stored", default=False),
        seo_tags=fields.texts("seoTags")[:MAX_TAGS],
        generate_time=moment(fields.number("timestamp")),
        unlisted=fields.flag("unlisted", default=False),
    )


def original(value: str) -> str:
    """The URL of the picture it was made from, or an empty string."""
    return web_url("originalUrl", value) if value else ""


def moment(milliseconds: float | None) -> Timestamp | None:
    """A client's time; None when it gave none."""
    if milliseconds is None:
        return None
    if not 0 <= milliseconds <= MAX_MILLISECONDS:
        raise wrong("timestamp", "timestamp must be milliseconds since 1970.")
    time = Timestamp()
    time.FromMilliseconds(int(milliseconds))
    return time


def item(share: sharepb.Share) -> dict[str, Any]:
    """A share as lists show it."""
    made = share.generate_time if share.HasField("generate_time") else share.create_time
    return {
        "id": id_of(share),
        "generatedUrl": share.generated_uri,
        "style": share.style,
        "timestamp": made.ToMilliseconds(),
        "createdAt": iso(share.create_time),
        "originalUrl": share.original_uri,
    }


def record(share: sharepb.Share) -> dict[str, Any]:
    """The whole share."""
    return {
        **item(share),
        "prompt": share.prompt,
        "isR2Stored": share.stored,
        "seoTags": list(share.seo_tags),
        "seo": seo(share.seo),
        "published": share.published,
        **({"model": share.model} if share.model else {}),
        **({"unlisted": True} if share.unlisted else {}),
        **({"contributedAt": share.publish_time.ToMilliseconds()} if share.HasField("publish_time") else {}),
    }


def seo(found: sharepb.Share.Seo) -> dict[str, Any]:
    """What search engines are told."""
    return {
        "modelLabel": found.model_label,
        "titleJa": found.title_ja,
        "titleEn": found.title_en,
        "descJa": found.description_ja,
        "descEn": found.description_en,
        "keywordsJa": list(found.keywords_ja),
        "keywordsEn": list(found.keywords_en),
    }


def page(found: sharepb.ListSharesResponse, asked: sharepb.ListSharesRequest) -> dict[str, Any]:
    """A page of the gallery; the cursor is a number, and absent at the end (docs/rest.md#share-lists)."""
    token = found.next_page_token
    return {
        "items": [item(share) for share in found.shares],
        "total": found.total_size,
        "limit": asked.page_size,
        "offset": asked.skip,
        "hasMore": bool(token),
        **({"cursor": int(token)} if token else {}),
        "filter": filter_of(asked),
    }


def filter_of(asked: sharepb.ListSharesRequest) -> str:
    """The filter in the seed's words: all, style:x, model:x or tag:x."""
    given = {"style": asked.style, "model": asked.model, "tag": asked.tag}
    return ",".join(f"{name}:{value}" for name, value in given.items() if value) or "all"


def id_of(share: sharepb.Share) -> str:
    """The share's id."""
    return parse_id("shares", share.name)


def iso(time: Timestamp) -> str:
    """A moment as JavaScript's toISOString writes it."""
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
