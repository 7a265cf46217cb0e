"""The cache in front of a store, flushed, filled with garbage and killed: no answer changes."""

from collections.abc import Callable
from itertools import count

import pytest

from services.chassis.cache import Cache
from services.chassis.database import Database
from services.share.model import Policy, Share, View
from services.share.ports import Clock
from services.share.stores.cached import CachedShares, CacheLifetimes
from services.share.stores.sql import SqlShares
from tests.share.conftest import announce_nothing
from tests.valkeys import Valkey

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # the engine makes no difference here
Make = Callable[..., Share]
ALL = View(Policy.ALL)
NOW_MS = 7  # what the statistics are stamped with
FRESHNESS = CacheLifetimes(record=60, list=60, latest=600, stats=60)


@pytest.fixture
def clock() -> Clock:
    """A clock that moves whenever it is read, so that no two moments are the same."""
    return clock_from(1_700_000_000_000)


def clock_from(start_ms: int) -> Clock:
    return count(start_ms).__next__


@pytest.fixture
def store(database: Database, cache: Cache, clock: Clock) -> CachedShares:
    return CachedShares(SqlShares(database), cache, FRESHNESS, clock, announce_nothing)


async def warm(store: CachedShares) -> None:
    """Fill the cache."""
    await store.latest(ALL, 12)
    await store.page(ALL, limit=21)
    await store.stats(NOW_MS)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"[1]",
        b'{"value":[1],"read_ms":1}',
        b'{"value":[],"read_ms":1}',
    ],
)
async def test_garbage_is_ignored_and_overwritten(
    store: CachedShares, make: Make, valkey: Valkey, garbage: bytes
) -> None:
    kept = await store.insert(make(), "d")
    await warm(store)
    written = [(key, valkey.redis.get(key)) for key in valkey.redis.scan_iter()]
    assert len(written) == 4
    for key, _ in written:
        valkey.redis.set(key, garbage)

    assert await store.latest(ALL, 12) == await store.page(ALL, limit=21) == (kept,)
    assert await store.find(kept.id) == kept
    assert await store.total(ALL) == (await store.stats(NOW_MS)).total == 1
    for key, value in written:
        assert valkey.redis.get(key) not in (None, garbage), value


async def test_a_key_of_another_type_is_healed(store: CachedShares, make: Make, valkey: Valkey) -> None:
    kept = await store.insert(make(), "d")
    await warm(store)
    keys = list(valkey.redis.scan_iter())
    for key in keys:
        valkey.redis.delete(key)
        valkey.redis.rpush(key, "somebody else's")

    assert await store.page(ALL, limit=21) == (kept,)
    await warm(store)

    assert {valkey.redis.type(key) for key in keys} == {b"string"}


async def test_flushing_and_killing_the_cache_changes_no_answer(
    store: CachedShares, make: Make, valkey: Valkey
) -> None:
    shown: list[Share] = []

    async def check() -> None:
        assert await store.latest(ALL, 12) == await store.page(ALL, limit=12) == tuple(shown)
        assert await store.total(ALL) == (await store.stats(NOW_MS)).total == len(shown)
        assert await store.batch([each.id for each in shown]) == {each.id: each for each in shown}

    harm: list[Callable[[], object]] = [valkey.redis.flushall, valkey.kill, valkey.start, valkey.redis.flushall]
    for each in (*harm, *harm):
        shown.insert(0, await store.insert(make(), "d"))
        await warm(store)
        each()
        await check()
        gone = shown.pop()
        assert await store.delete(gone.id)
        assert await store.find(gone.id) is None
        await check()
        shown.insert(0, await store.insert(make(), "d"))
        published = await store.publish(shown[0].id, 5)
        assert published
        shown[0] = published
        await check()
