"""The public lists: the feed, trending artworks, and the hotness of one artwork."""

from kawaii.community.v1 import artworks_pb2 as artworkspb
from starlette.requests import Request
from starlette.responses import Response

from gateway.clients import stubs
from gateway.rest import request_fields
from gateway.routes.community import viewers
from gateway.routes.community.parameters import artwork_name, cursor, limit
from gateway.routes.community.rendering import SCORE_DIGITS, card, cards, hot_card, hot_level, ok

ORDERS = {
    "newest": artworkspb.FEED_ORDER_NEWEST,
    "hot": artworkspb.FEED_ORDER_HOT,
}
WINDOWS = {
    "1h": artworkspb.TRENDING_WINDOW_HOUR,
    "6h": artworkspb.TRENDING_WINDOW_SIX_HOURS,
    "24h": artworkspb.TRENDING_WINDOW_DAY,
    "7d": artworkspb.TRENDING_WINDOW_WEEK,
    "30d": artworkspb.TRENDING_WINDOW_MONTH,
}
CATEGORIES = {
    "all": artworkspb.TRENDING_CATEGORY_UNSPECIFIED,
    "viral": artworkspb.TRENDING_CATEGORY_VIRAL,
    "hot": artworkspb.TRENDING_CATEGORY_HOT,
    "rising": artworkspb.TRENDING_CATEGORY_RISING,
}
MAX_SKIP = 10_000  # of `offset`; the service takes no more, and `cursor` costs nothing


async def newest(request: Request) -> Response:
    """GET /api/feed (docs/rest.md#feed); `sort=hot` and `cursor` go beyond it."""
    order = request_fields.Fields(request.query_params).choice("sort", ORDERS, "newest")
    wanted = artworkspb.ListFeedRequest(
        viewer_id=await viewers.optional(request),
        order=ORDERS[order],
        page_size=limit(request),
        page_token=cursor(request),
    )
    page = await stubs.of(request).artworks.ListFeed(wanted)
    return ok(cards(page.artworks), nextCursor=page.next_page_token)


async def trending(request: Request) -> Response:
    """GET /api/hotness/trending (docs/rest.md#hotness); every time when no window is named."""
    window = request_fields.Fields(request.query_params).choice("timeWindow", ("", *WINDOWS), "")
    return await _trending(request, window)


async def trending_of_window(request: Request) -> Response:
    """GET /api/hotness/trending/{window}."""
    window = request_fields.Fields(request.path_params).choice("window", WINDOWS, "")
    return await _trending(request, window, time_window=window)


async def hotness(request: Request) -> Response:
    """GET /api/hotness/{id}."""
    wanted = artworkspb.GetHotnessRequest(viewer_id=await viewers.optional(request), name=artwork_name(request))
    found = await stubs.of(request).artworks.GetHotness(wanted)
    details = {
        "like_count": found.artwork.like_count,
        "fav_count": found.artwork.favorite_count,
        "decay": round(found.decay, SCORE_DIGITS),
    }
    score = round(found.score, SCORE_DIGITS)
    hot = {"score": score, "level": hot_level(found.level), "rank": found.rank, "details": details}
    return ok({"artwork": card(found.artwork), "hotness": hot})


async def _trending(request: Request, window: str, time_window: str = "") -> Response:
    category = request_fields.Fields(request.query_params).choice("category", CATEGORIES, "all")
    skip = request_fields.query_integer(request, "offset", 0)
    wanted = artworkspb.ListTrendingRequest(
        viewer_id=await viewers.optional(request),
        window=WINDOWS.get(window, artworkspb.TRENDING_WINDOW_UNSPECIFIED),
        category=CATEGORIES[category],
        page_size=limit(request),
        page_token=cursor(request),
        skip=min(max(skip, 0), MAX_SKIP),
    )
    page = await stubs.of(request).artworks.ListTrending(wanted)
    shown = [hot_card(artwork) for artwork in page.artworks]
    return ok(shown, nextCursor=page.next_page_token, time_window=time_window)
