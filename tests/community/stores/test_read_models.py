"""The read models: under the seeds' names and types, never believed when wrong, and never needed for an answer."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.signing_keys import PurposeKeys
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.model import ArtworkPage, Reaction, Shelf
from services.community.model.hotness import DAY_MS
from services.community.settings import CommunitySettings
from services.community.stores import Stores, make_stores
from services.community.stores.read_models import RedisModels, open_models
from tests.community.fakes import FakeGenerations, FakeObjects
from tests.community.steps import ANN, BOB, published
from tests.community.stubs import Clock
from tests.support.polling import eventually
from tests.support.valkey import Valkey

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@pytest.fixture
def stores(database: Database, models: RedisModels, clock: Clock) -> Stores:
    """The stores on a real Valkey."""
    return make_stores(database, models, clock, 0, PurposeKeys(b"erasure key"))


@pytest.fixture
async def other_replica(
    settings: CommunitySettings, database: Database, valkey: Valkey, clock: Clock
) -> AsyncIterator[CommunityService]:
    """Another replica on the same database and the same Valkey."""
    async with open_models(valkey.url, lambda: 0.0) as models:
        yield CommunityService(
            settings,
            make_stores(database, models, clock, 0, PurposeKeys(b"erasure key")),
            FakeGenerations(),
            FakeObjects(),
            clock,
        )


def ids(page: ArtworkPage) -> list[str]:
    return [card.artwork.id for card in page.cards]


async def answers(community: CommunityService) -> list[object]:
    """All that the read models have a part in."""
    pages = [
        await community.feed.newest(PageRequest(BOB)),
        await community.feed.hottest(PageRequest("")),
        await community.feed.of_user(PageRequest(BOB), ANN),
        await community.feed.of_shelf(PageRequest(BOB), Shelf.FAVORITES, BOB),
    ]
    return [(page.cards, page.next_token) for page in pages]


@pytest.fixture
async def three(community: CommunityService, clock: Clock) -> list[str]:
    """Three artworks of Ann's, newest last; Bob likes and collects the first."""
    made = []
    for title in "abc":
        made.append((await published(community, title=title)).artwork.id)
        clock.now += 1000
    for kind in Reaction:
        await community.reactions.react(BOB, made[0], kind, wanted=True)
    return made


async def test_they_have_the_names_and_types_of_the_seeds(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    await answers(community)

    redis = valkey.redis
    assert [each.decode() for each in redis.lrange("feed_queue", 0, -1)] == three[::-1]
    assert redis.zrevrange("hot_rank", 0, 0, withscores=True) == [(three[0].encode(), 3.0)]
    assert [each.decode() for each in redis.lrange(f"user:{ANN}:artworks", 0, -1)] == three[::-1]
    assert redis.smembers(f"user:{BOB}:favorites") == {three[0].encode()}
    assert redis.get(f"artwork:{three[0]}:likes") == b"1"


async def test_a_list_that_was_written_is_read_from_there_until_it_is_invalidated(
    community: CommunityService, models: RedisModels, three: list[str]
) -> None:
    assert (await models.list("feed_queue", 10)).members is None
    await community.feed.newest(PageRequest(""))
    assert (await models.list("feed_queue", 10)).members == tuple(three[::-1])

    await models.forget("feed_queue")
    assert (await models.list("feed_queue", 10)).members is None


@pytest.mark.usefixtures("three")
async def test_flushing_changes_no_answer(community: CommunityService, valkey: Valkey) -> None:
    before = await answers(community)
    valkey.redis.flushall()

    assert await answers(community) == before
    assert await answers(community) == before


async def test_without_redis_every_answer_is_the_same(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    before = await answers(community)
    valkey.kill()
    assert await answers(community) == before

    fourth = (await published(community, title="d")).artwork.id
    await community.artworks.unpublish(ANN, three[2])
    valkey.start()

    assert ids(await community.feed.newest(PageRequest(""))) == [fourth, three[1], three[0]]


async def test_a_kept_list_that_survives_an_outage_is_not_believed(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    """Redis stands still while the word of a change is told, and its data are there when it goes on."""
    await answers(community)
    valkey.pause()

    await community.artworks.delete(ANN, three[0])
    fourth = (await published(community, title="d")).artwork.id
    valkey.resume()

    assert ids(await community.feed.newest(PageRequest(""))) == [fourth, three[2], three[1]]


async def test_after_a_very_long_outage_nothing_old_is_believed(
    community: CommunityService, models: RedisModels, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await answers(community)
    monkeypatch.setattr("services.community.stores.read_models.MAX_PENDING", 2)

    await community.artworks.unpublish(ANN, three[0])

    assert models._pending == set()
    assert ids(await community.feed.newest(PageRequest(""))) == [three[2], three[1]]


@pytest.mark.usefixtures("settings")
async def test_without_a_redis_nothing_is_remembered() -> None:
    async with open_models("", lambda: 0.0) as models:
        await models.forget("feed_queue")

    assert models._pending == set()


async def test_one_like_moves_the_ranking_and_empties_nothing(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    await answers(community)

    await community.reactions.react(ANN, three[1], Reaction.LIKE, wanted=True)

    assert dict(valkey.redis.zrange("hot_rank", 0, -1, withscores=True)) == {
        three[0].encode(): 3.0,
        three[1].encode(): 1.0,
        three[2].encode(): 0.0,
    }
    assert ids(await community.feed.hottest(PageRequest("")))[:2] == three[:2]


async def test_scores_that_decayed_are_read_from_the_rows_again(
    community: CommunityService, valkey: Valkey, clock: Clock, three: list[str]
) -> None:
    await answers(community)
    clock.now += 40 * DAY_MS

    assert await community.score_decay.decay_due()
    await answers(community)

    (shown,) = (await community.feed.hottest(PageRequest("", 1))).cards
    assert (
        dict(valkey.redis.zrange("hot_rank", 0, -1, withscores=True))[three[0].encode()] == shown.artwork.hot_score < 3
    )


@pytest.mark.parametrize("garbage", [b"", b"\xff\x00", b"x" * 1000])
async def test_keys_of_another_type_are_healed(
    community: CommunityService, valkey: Valkey, three: list[str], garbage: bytes
) -> None:
    before = await answers(community)
    keys = ["feed_queue", "hot_rank", f"user:{ANN}:artworks", f"user:{BOB}:favorites", f"artwork:{three[0]}:likes"]
    for key in keys:
        valkey.redis.delete(key)
        valkey.redis.set(key, garbage)

    assert await answers(community) == before
    await community.reactions.react(BOB, three[1], Reaction.FAVORITE, wanted=True)
    await community.reactions.react(BOB, three[1], Reaction.LIKE, wanted=True)
    await answers(community)
    await community.admin_operations.rebuild()

    assert [valkey.redis.type(key) for key in keys] == [b"list", b"zset", b"list", b"set", b"string"]


@pytest.mark.usefixtures("three")
async def test_members_that_are_not_ours_are_not_shown(community: CommunityService, valkey: Valkey) -> None:
    before = await answers(community)
    valkey.redis.lpush("feed_queue", "art_none")
    valkey.redis.zadd("hot_rank", {"art_none": 99.0})

    assert await answers(community) == before


async def test_a_draft_is_never_read_from_a_kept_list(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    """The kept lists are in the right order, so that only the artwork's own state gives the draft away."""
    await community.artworks.unpublish(ANN, three[0])
    await answers(community)
    valkey.redis.rpush("feed_queue", three[0])
    valkey.redis.rpush(f"user:{ANN}:artworks", three[0])
    valkey.redis.zadd("hot_rank", {three[0]: 99.0})

    assert ids(await community.feed.newest(PageRequest(""))) == [three[2], three[1]]
    assert ids(await community.feed.of_user(PageRequest(BOB), ANN)) == [three[2], three[1]]
    assert three[0] not in ids(await community.feed.hottest(PageRequest("")))


async def test_another_replica_sees_a_change_at_once(
    community: CommunityService, other_replica: CommunityService, three: list[str]
) -> None:
    assert ids(await other_replica.feed.newest(PageRequest(""))) == three[::-1]

    await community.artworks.unpublish(ANN, three[2])
    fourth = (await published(community, title="d")).artwork.id

    assert ids(await other_replica.feed.newest(PageRequest(""))) == [fourth, three[1], three[0]]
    assert ids(await other_replica.feed.of_user(PageRequest(""), ANN)) == [fourth, three[1], three[0]]


async def test_a_change_during_a_reading_is_not_written_over(
    community: CommunityService, models: RedisModels, three: list[str]
) -> None:
    look = await models.list("feed_queue", 10)
    await community.artworks.unpublish(ANN, three[2])
    await models.put_list("feed_queue", three[::-1], look.epoch)

    assert ids(await community.feed.newest(PageRequest(""))) == [three[1], three[0]]


class Held:
    """A method of a store that, once it has written, keeps its transaction open until it is let go."""

    def __init__(self, store: object, name: str) -> None:
        self.written, self.go_on = threading.Event(), threading.Event()
        self._method: Callable[..., Any] = getattr(store, name)
        setattr(store, name, self._call)

    def _call(self, *arguments: Any, **named: Any) -> Any:
        result = self._method(*arguments, **named)
        self.written.set()
        assert self.go_on.wait(30)
        return result


async def left(change: Coroutine[Any, Any, object], held: Held) -> None:
    """Ask for a change, and leave before its transaction ends."""
    asking = asyncio.create_task(change)
    assert await asyncio.to_thread(held.written.wait, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    held.go_on.set()


async def test_a_change_whose_caller_leaves_is_in_the_lists_all_the_same(
    community: CommunityService, other_replica: CommunityService, stores: Stores, valkey: Valkey, three: list[str]
) -> None:
    await community.artworks.unpublish(ANN, three[0])
    await answers(community)
    assert [each.decode() for each in valkey.redis.lrange("feed_queue", 0, -1)] == [three[2], three[1]]

    await left(community.artworks.publish(ANN, three[0]), Held(stores.artworks, "change"))

    async def listed() -> bool:
        return ids(await other_replica.feed.newest(PageRequest(""))) == three[::-1]

    await eventually(listed)


async def test_a_like_whose_caller_leaves_is_in_the_read_models_all_the_same(
    community: CommunityService, stores: Stores, valkey: Valkey, three: list[str]
) -> None:
    await answers(community)

    await left(community.reactions.react(ANN, three[1], Reaction.LIKE, wanted=True), Held(stores.reactions, "react"))

    async def counted() -> bool:
        return valkey.redis.get(f"artwork:{three[1]}:likes") == b"1" and valkey.redis.zscore("hot_rank", three[1]) == 1

    await eventually(counted)


@pytest.mark.usefixtures("settings")
async def test_an_update_that_has_begun_ends_before_the_connection_is_closed(valkey: Valkey) -> None:
    async with open_models(valkey.url, lambda: 0.0) as models:
        models.begin(ANN, partial(models.forget, "feed_queue"))

    assert valkey.redis.exists("feed_queue:epoch")


@pytest.mark.usefixtures("settings")
async def test_an_update_that_cannot_read_the_rows_fails_nobody(models: RedisModels) -> None:
    """The change itself is committed; the read model is stale for a minute at most."""

    async def away() -> None:
        raise Unavailable("The database is away.")

    with capture_logs() as lines:
        models.begin(ANN, away)
        await models.ended(ANN)
        await models.finish()

    assert [(line["event"], line["cause"]) for line in lines] == [("read_model_not_updated", "Unavailable")]


async def test_they_are_rebuilt_from_the_rows(community: CommunityService, valkey: Valkey, three: list[str]) -> None:
    valkey.redis.flushall()

    written = await community.admin_operations.rebuild()

    assert written == len([key for key in valkey.redis.scan_iter() if b":read" not in key]) == 7
    assert valkey.redis.get(f"artwork:{three[0]}:likes") == b"1"


async def test_likes_during_outages_end_as_the_rows_say(
    community: CommunityService, valkey: Valkey, three: list[str]
) -> None:
    dice = random.Random(7)

    async def person(user_id: str) -> None:
        for _ in range(20):
            wanted = dice.random() < 0.6
            await community.reactions.react(user_id, dice.choice(three), dice.choice(tuple(Reaction)), wanted=wanted)
            await community.feed.hottest(PageRequest(user_id))

    users = [asyncio.create_task(person(f"user{number}")) for number in range(8)]
    for _ in range(3):
        valkey.kill()
        await asyncio.sleep(0)
        valkey.start()
    await asyncio.gather(*users)

    assert (await community.admin_operations.reconcile(mend=False)).amount == 0
    with_redis = await answers(community)
    valkey.redis.flushall()
    assert await answers(community) == with_redis
