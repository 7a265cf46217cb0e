"""Likes and favourites: set, unset, and read, singly and in batches."""

from collections.abc import Awaitable
from typing import Any

from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.routes.community import viewers
from gateway.routes.community.parameters import artwork_name
from gateway.routes.community.rendering import SCORE_DIGITS, hot_level, id_of, ok
from gateway.routes.community.rendering import state as rendered
from services.chassis.errors import Unavailable, invalid_field
from services.chassis.names import name, parse_id

MAX_BATCH = 200  # a page of a hundred cards asks twice; the service takes no more


async def like(request: Request) -> Response:
    """POST /api/artworks/{id}/like (docs/rest.md#likes-and-favourites)."""
    wanted = artworkspb.LikeArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return await _stated(stubs.of(request).artworks.LikeArtwork(wanted))


async def unlike(request: Request) -> Response:
    """DELETE /api/artworks/{id}/like."""
    wanted = artworkspb.UnlikeArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return await _stated(stubs.of(request).artworks.UnlikeArtwork(wanted))


async def favorite(request: Request) -> Response:
    """POST /api/artworks/{id}/favorite."""
    wanted = artworkspb.FavoriteArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return await _stated(stubs.of(request).artworks.FavoriteArtwork(wanted))


async def unfavorite(request: Request) -> Response:
    """DELETE /api/artworks/{id}/favorite."""
    wanted = artworkspb.UnfavoriteArtworkRequest(viewer_id=await viewers.required(request), name=artwork_name(request))
    return await _stated(stubs.of(request).artworks.UnfavoriteArtwork(wanted))


async def state(request: Request) -> Response:
    """GET /api/artworks/{id}/state (docs/rest.md#likes-and-favourites)."""
    viewer_id = await viewers.optional(request)
    (found,) = await _states(request, viewer_id, [artwork_name(request)])
    return ok(rendered(found))


async def batch_state(request: Request) -> Response:
    """POST /api/artworks/batch/state: a map by id; unknown ids get zeros."""
    viewer_id, names = await viewers.optional(request), await _names(request)
    states = await _states(request, viewer_id, names)
    return ok({parse_id("artworks", found.name): rendered(found) for found in states})


async def hot_data(request: Request) -> Response:
    """GET /api/artworks/{id}/hot-data."""
    wanted = artworkspb.GetHotnessRequest(viewer_id=await viewers.optional(request), name=artwork_name(request))
    found = await stubs.of(request).artworks.GetHotness(wanted)
    return ok(_hot_data(id_of(found.artwork), found.score, found.level, found.rank, found.artwork))


async def batch_hot_data(request: Request) -> Response:
    """POST /api/artworks/batch/hot-data: a map by id; unknown ids are left out."""
    viewer_id, names = await viewers.optional(request), await _names(request)
    wanted = artworkspb.BatchGetHotnessRequest(viewer_id=viewer_id, names=names)
    found = await stubs.offered(stubs.of(request).artworks.BatchGetHotness(wanted))
    if found is None:  # an older release of the community, which is upgraded after us
        raise Unavailable("The community service is being upgraded. Try again shortly.")
    hot = [
        _hot_data(parse_id("artworks", each.name), each.score, each.level, each.rank, each) for each in found.hotness
    ]
    return ok({each["id"]: each for each in hot})


async def _stated(call: Awaitable[artworkspb.ArtworkState]) -> Response:
    return ok(rendered(await call))


async def _states(request: Request, viewer_id: str, names: list[str]) -> list[artworkspb.ArtworkState]:
    wanted = artworkspb.BatchGetArtworkStatesRequest(viewer_id=viewer_id, names=names)
    return list((await stubs.of(request).artworks.BatchGetArtworkStates(wanted)).states)


async def _names(request: Request) -> list[str]:
    fields = await request_fields.json_object(request)
    ids = list(dict.fromkeys(request_fields.identifier("artworkIds", each) for each in fields.texts("artworkIds")))
    if not 1 <= len(ids) <= MAX_BATCH:
        raise invalid_field("artworkIds", f"artworkIds must hold 1 to {MAX_BATCH} ids.")
    return [name("artworks", each) for each in ids]


def _hot_data(
    identifier: str,
    score: float,
    level: artworkspb.HotLevel.ValueType,
    rank: int,
    counts: artworkspb.Artwork | artworkspb.ArtworkHotness,
) -> dict[str, Any]:
    return {
        "id": identifier,
        "hot_score": round(score, SCORE_DIGITS),
        "hot_level": hot_level(level),
        "rank": rank,
        "like_count": counts.like_count,
        "favorite_count": counts.favorite_count,
    }
