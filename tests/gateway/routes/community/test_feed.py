"""The public lists over REST: the feed, trending artworks, and the hotness of one artwork."""

from typing import Any

import pytest

from tests.gateway.routes.community.conftest import Caller, Site

HOUR_MS = 3_600_000
CARD = {
    "id", "title", "url", "thumb_url", "slug", "status", "created_at", "published_at", "author", "like_count",
    "fav_count", "user_state", "hot_score",
}  # fmt: skip


def ids(cards: list[dict[str, Any]]) -> list[str]:
    return [card["id"] for card in cards]


async def three(site: Site, owner: Caller) -> list[str]:
    """Three published artworks, a second apart, the oldest first."""
    made = []
    for title in ("one", "two", "three"):
        made.append(await owner.saved(title))
        site.clock.now += 1000
    return made


async def test_the_feed_shows_published_artworks_newest_first(site: Site, ann: Caller, stranger: Caller) -> None:
    made = await three(site, ann)
    await ann.saved("secret", "save-draft")

    cards = await stranger.ok("GET", "/api/feed")

    assert ids(cards) == made[::-1]
    assert set(cards[0]) >= CARD
    assert cards[0]["user_state"] == {"liked": False, "faved": False}
    assert cards[0]["author"] == {"id": ann.id, "name": "Ann", "profile_pic": "https://cdn.example/ann.png"}


async def test_the_feed_may_be_sorted_by_score_and_shows_the_viewers_reactions(
    site: Site, ann: Caller, bob: Caller
) -> None:
    made = await three(site, ann)
    await bob.ok("POST", f"/api/artworks/{made[1]}/like")

    hottest = await bob.ok("GET", "/api/feed", params={"sort": "hot"})

    assert (hottest[0]["id"], hottest[0]["hot_score"]) == (made[1], 1)
    assert hottest[0]["user_state"] == {"liked": True, "faved": False}
    assert await bob.error("GET", "/api/feed", params={"sort": "best"}) == (400, "INVALID_INPUT")


@pytest.mark.parametrize("path", ["/api/feed", "/api/hotness/trending"])
async def test_a_list_is_followed_by_its_cursor_to_the_end(
    site: Site, ann: Caller, stranger: Caller, path: str
) -> None:
    made = await three(site, ann)

    first = (await stranger.http.get(path, params={"limit": 2})).json()
    last = (await stranger.http.get(path, params={"limit": 2, "cursor": first["nextCursor"]})).json()

    assert [*ids(first["data"]), *ids(last["data"])] == made[::-1]
    assert "nextCursor" not in last


@pytest.mark.parametrize("limit", ["abc", "-1", "0", "1000000", "1e3", "", "\uff19"])
async def test_a_limit_out_of_bounds_means_the_default(site: Site, ann: Caller, stranger: Caller, limit: str) -> None:
    made = await three(site, ann)

    assert ids(await stranger.ok("GET", "/api/feed", params={"limit": limit})) == made[::-1]


@pytest.mark.parametrize("path", ["/api/feed", "/api/hotness/trending", "/api/hotness/trending/7d"])
@pytest.mark.parametrize("cursor", ["bm90IG91cnM=", "x" * 2000, "é"])
async def test_a_forged_cursor_is_refused(stranger: Caller, path: str, cursor: str) -> None:
    assert (await stranger.error("GET", path, params={"cursor": cursor}))[0] == 400


async def test_trending_artworks_are_those_of_a_window_and_a_category(
    site: Site, ann: Caller, bob: Caller, stranger: Caller
) -> None:
    old = await ann.saved("old")
    await bob.ok("POST", f"/api/artworks/{old}/favorite")
    site.clock.now += 2 * HOUR_MS
    await site.community.score_decay.decay_due()
    young = await ann.saved("young")

    every = await stranger.ok("GET", "/api/hotness/trending")
    assert ids(every) == [old, young]
    assert (every[0]["hot_level"], every[0]["trend"]) == ("new", "stable")
    hour = (await stranger.http.get("/api/hotness/trending/1h")).json()
    assert (ids(hour["data"]), hour["time_window"]) == ([young], "1h")
    assert ids(await stranger.ok("GET", "/api/hotness/trending", params={"timeWindow": "6h"})) == [old, young]
    assert ids(await stranger.ok("GET", "/api/hotness/trending", params={"offset": 1})) == [young]
    assert await stranger.ok("GET", "/api/hotness/trending", params={"category": "viral"}) == []


@pytest.mark.parametrize("wrong", ["?timeWindow=1y", "?category=cute", "/1y"])
async def test_an_unknown_window_or_category_is_refused(stranger: Caller, wrong: str) -> None:
    assert await stranger.error("GET", f"/api/hotness/trending{wrong}") == (400, "INVALID_INPUT")


async def test_hotness_tells_score_level_rank_and_counts(ann: Caller, bob: Caller, stranger: Caller) -> None:
    artwork = await ann.saved()
    await bob.ok("POST", f"/api/artworks/{artwork}/like")
    await bob.ok("POST", f"/api/artworks/{artwork}/favorite")

    found = await stranger.ok("GET", f"/api/hotness/{artwork}")

    assert found["hotness"] == {
        "score": 3,
        "level": "new",
        "rank": 1,
        "details": {"like_count": 1, "fav_count": 1, "decay": 1},
    }
    assert (found["artwork"]["id"], found["artwork"]["hot_score"]) == (artwork, 3)
    assert await stranger.error("GET", "/api/hotness/art_none") == (404, "NOT_FOUND")
