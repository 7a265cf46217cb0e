"""Renders this family's answers: the envelope {success, data} (docs/rest.md#sources), and artworks.

Front ends unwrap the envelope, and read artworks as docs/rest.md#artwork-object has them.
"""

from collections.abc import Iterable
from typing import Any

from kawaii.community.v1 import artworks_pb2 as artworkspb

from gateway.rest.responses import NO_STORE, Json
from gateway.routes.community.parameters import shown_user_id
from services.chassis.names import parse_id
from services.chassis.protobuf import milliseconds

Artwork = artworkspb.Artwork
UNNAMED = "未命名用户"  # docs/rest.md#artwork-object: for hidden and empty names
DEFAULT_AVATAR = "/images/default-avatar.jpg"  # the same, for missing pictures
SCORE_DIGITS = 4

STATUS = {
    Artwork.STATE_GENERATING: "generating",
    Artwork.STATE_DRAFT: "draft",
    Artwork.STATE_PUBLISHED: "published",
    Artwork.STATE_FAILED: "failed",
}
HOT_LEVELS = {number: name.removeprefix("HOT_LEVEL_").lower() for name, number in artworkspb.HotLevel.items() if number}
LEAST_HOT = "new"  # for a level that only a newer release of the community knows, or none
UNFINISHED = "generating"  # for a state that only a newer release of the community knows


def ok(data: object, **beside: Any) -> Json:
    """A success. Whoever is signed in sees other answers than strangers, so none of them is kept by a cache."""
    given = {name: value for name, value in beside.items() if value}
    return Json({"success": True, "data": data, **given}, headers=NO_STORE | {"Vary": "Authorization, Cookie"})


def status_of(artwork: Artwork) -> str:
    """The word of an artwork's state."""
    return STATUS.get(artwork.state, UNFINISHED)


def card(artwork: Artwork) -> dict[str, Any]:
    """One artwork. thumb_url and user_state are always there: FE-B reads them unguarded."""
    shown = {
        "id": id_of(artwork),
        "title": artwork.title,
        "url": artwork.uri,
        "thumb_url": artwork.thumbnail_uri or artwork.uri,
        "slug": artwork.slug,
        "status": status_of(artwork),
        "created_at": artwork.create_time.ToMilliseconds(),
        "published_at": milliseconds(artwork.publish_time) or None,
        "author": _author(artwork.author),
        "like_count": artwork.like_count,
        "fav_count": artwork.favorite_count,
        "user_state": {"liked": artwork.liked, "faved": artwork.favorited},
        "hot_score": round(artwork.hot_score, SCORE_DIGITS),
        "prompt": artwork.prompt or None,
        "kie_model": artwork.model or None,
        "kie_aspect_ratio": artwork.aspect_ratio or None,
        "kie_output_format": artwork.output_format or None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def cards(artworks: Iterable[Artwork]) -> list[dict[str, Any]]:
    """A list of artworks."""
    return [card(artwork) for artwork in artworks]


def detail(artwork: Artwork) -> dict[str, Any]:
    """An artwork on its own page."""
    shown = card(artwork) | {
        "is_author": artwork.owned,
        "seo": _seo(artwork),
        "hot_level": hot_level(artwork.hot_level),
    }
    return shown | ({"hidden": True} if artwork.hidden else {})


def hot_card(artwork: Artwork) -> dict[str, Any]:
    """An artwork among the trending ones."""
    return card(artwork) | {"hot_level": hot_level(artwork.hot_level), "trend": "stable"}


def state(found: artworkspb.ArtworkState) -> dict[str, Any]:
    """The counts of likes and favourites and whether the viewer is among them, under the names of all sources.

    See docs/rest.md#likes-and-favourites.
    """
    return {
        "like_count": found.like_count,
        "fav_count": found.favorite_count,
        "user_state": {"liked": found.liked, "faved": found.favorited},
        "isLiked": found.liked,
        "is_favorite": found.favorited,
    }


def _seo(artwork: Artwork) -> dict[str, Any]:
    """Title, description and image for search engines."""
    name = artwork.author.display_name or UNNAMED
    return {"title": f"{artwork.title} · {name}", "description": artwork.prompt[:160], "image": artwork.uri}


def _author(found: Artwork.Author) -> dict[str, str]:
    """The author of an artwork."""
    return {
        "id": shown_user_id(found.user_id),
        "name": found.display_name or UNNAMED,
        "profile_pic": found.picture_uri or DEFAULT_AVATAR,
    }


def id_of(artwork: Artwork) -> str:
    """The artwork's id."""
    return parse_id("artworks", artwork.name)


def hot_level(level: artworkspb.HotLevel.ValueType) -> str:
    """The word for a level of hotness: viral, hot, rising, active, watch or new."""
    return HOT_LEVELS.get(level, LEAST_HOT)
