"""Redis holds nothing that matters: emptied, or full of strangers' keys, it changes no answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.e2e.community.callers import Caller
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
Answers = dict[tuple[str, str], Any]


@pytest.fixture
def redis(site: Stack) -> Iterator[Redis]:
    """The stack's own Valkey."""
    with Redis.from_url(site.redis_url) as client:
        yield client


def routes(artwork: str, draft: str, owner: str, fan: str) -> list[str]:
    """Every route that reads: feed, trending, details, states, hotness and people's lists."""
    lists = [f"/api/users/{who}/{kind}" for who in (owner, fan) for kind in ("artworks", "favorites", "likes")]
    people = [f"/api/users/{who}/{kind}" for who in (owner, fan) for kind in ("profile", "summary")]
    details = [f"/api/artworks/{each}{kind}" for each in (artwork, draft) for kind in ("", "/state", "/hot-data")]
    trending = [f"/api/hotness/trending{rest}" for rest in ("", "?limit=100", "?offset=1", "?category=rising", "/24h")]
    feeds = [f"/api/feed?limit={limit}&sort={sort}" for limit in (2, 100) for sort in ("newest", "hot")]
    return [*lists, *people, *details, *trending, *feeds, f"/api/hotness/{artwork}", f"/api/hotness/{draft}"]


def answers(paths: list[str], *callers: Caller) -> Answers:
    """What everybody is told."""
    return {(each.id, path): each.http.get(path).json() for path in paths for each in callers}


def seeds_keys(artwork: str, owner: str, fan: str) -> list[str]:
    """The names that the seeds' own backend writes under."""
    people = [f"user:{who}:{kind}" for who in (owner, fan) for kind in ("artworks", "favorites")]
    return ["feed_queue", "hot_rank", f"artwork:{artwork}:likes", *people]


def planted(redis: Redis, keys: list[str]) -> None:
    """Put something of a type that nobody expects under each name, and under the words that stand beside it."""
    for key in keys:
        for name in (key, f"{key}:epoch", f"{key}:read"):
            redis.delete(name)
            redis.hset(name, "a", "stranger's")


def test_neither_flushall_nor_wrong_types_change_an_answer(
    redis: Redis, mei: Caller, ren: Caller, stranger: Caller
) -> None:
    artwork, other, draft = mei.published("a kept owl"), mei.published("a second owl"), mei.draft("a hidden owl")
    for each in (artwork, other):
        ren.ok("POST", f"/api/artworks/{each}/like")
    ren.ok("POST", f"/api/artworks/{artwork}/favorite")
    everybody, paths = (mei, ren, stranger), routes(artwork, draft, mei.id, ren.id)
    keys = seeds_keys(artwork, mei.id, ren.id)
    before = answers(paths, *everybody)
    kept = {key: redis.type(key) for key in keys}

    redis.flushall()
    flushed = answers(paths, *everybody)
    planted(redis, keys)
    besieged = answers(paths, *everybody)
    healed = answers(paths, *everybody)

    assert before == flushed == besieged == healed
    assert kept["feed_queue"] == redis.type("feed_queue") == b"list"
    assert kept["hot_rank"] == redis.type("hot_rank") == b"zset"


def test_what_is_done_after_a_flush_and_among_strangers_keys_is_seen_at_once(
    redis: Redis, mei: Caller, ren: Caller, stranger: Caller
) -> None:
    artwork = mei.published("an owl among strangers")
    stranger.ok("GET", "/api/feed")
    redis.flushall()
    planted(redis, seeds_keys(artwork, mei.id, ren.id))

    liked = ren.ok("POST", f"/api/artworks/{artwork}/like")
    kept = ren.ok("POST", f"/api/artworks/{artwork}/favorite")
    newer = mei.published("an owl that came later")

    assert (liked["like_count"], kept["fav_count"]) == (1, 1)
    assert [card["id"] for card in stranger.ok("GET", "/api/feed", params={"limit": 2})] == [newer, artwork]
    assert artwork in [card["id"] for card in ren.ok("GET", f"/api/users/{ren.id}/favorites")]
    assert redis.get(f"artwork:{artwork}:likes") == b"1"
