"""The cache never fails a caller: down, flushed, hung or full of somebody else's values, it only knows less."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from services.chassis.cache import ENTRY_BYTES, MAX_LOCAL_BYTES, MAX_LOCAL_ENTRIES, Cache, LocalCache, open_cache
from tests.support.engines import skip_if_missing
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.valkey import Valkey, valkey_server


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with skip_if_missing(), valkey_server() as running:
        yield running


@pytest.fixture(params=["local", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """Every cache there is."""
    url = request.getfixturevalue("server").url if request.param == "redis" else ""
    async with open_cache(url) as opened:
        yield opened


@asynccontextmanager
async def fresh(server: Valkey) -> AsyncIterator[Cache]:
    """A cache that has not met a failure yet."""
    async with open_cache(server.url) as opened:
        yield opened


async def cached(cache: Cache, key: str, value: bytes | None) -> None:
    """Wait until the cache holds the value."""

    async def holds() -> bool:
        return await cache.get(key) == value

    await eventually(holds)


async def asked(cache: Cache) -> bytes | None:
    """Use all there is; the answer to a get."""
    await cache.set("a", b"2", 60)
    await cache.delete("b")
    return await cache.get("a")


async def test_a_value_is_kept(cache: Cache) -> None:
    await cache.set("a", b"\x00\xff", 60)

    assert await cache.get("a") == b"\x00\xff"


async def test_a_value_can_be_replaced(cache: Cache) -> None:
    await cache.set("a", b"1", 60)
    await cache.set("a", b"2", 60)

    assert await cache.get("a") == b"2"


async def test_a_value_goes_in_its_time(cache: Cache) -> None:
    await cache.set("brief", b"1", 60)
    assert await cache.get("brief") == b"1"
    await cache.set("brief", b"1", 0.02)

    await cached(cache, "brief", None)


async def test_values_are_forgotten(cache: Cache) -> None:
    await cache.set("a", b"1", 60)
    await cache.set("b", b"2", 60)
    await cache.delete("a", "b", "never")

    assert [await cache.get("a"), await cache.get("b")] == [None, None]


async def test_forgetting_nothing_harms_nothing(cache: Cache) -> None:
    await cache.set("a", b"1", 60)
    await cache.delete()

    assert await cache.get("a") == b"1"


async def test_a_full_local_cache_drops_the_oldest() -> None:
    cache = LocalCache()
    for number in range(MAX_LOCAL_ENTRIES + 1):
        await cache.set(str(number), b"", 60)

    assert await cache.get("0") is None
    assert await cache.get("1") == b""


async def test_a_local_cache_keeps_no_more_bytes_than_its_bound() -> None:
    cache, value = LocalCache(), b"x" * (MAX_LOCAL_BYTES // 10)
    for number in range(100):
        await cache.set("k" * 1000 + str(number), value, 60)
        assert cache.size <= MAX_LOCAL_BYTES

    assert await cache.get("k" * 1000 + "99") == value
    assert len(cache) == 9
    await cache.set("large", b"x" * MAX_LOCAL_BYTES, 60)
    assert await cache.get("large") is None
    assert len(cache) == 9


async def test_a_local_cache_drops_values_whose_time_is_over_and_counts_each_once() -> None:
    now = 0.0
    cache = LocalCache(lambda: now)
    await cache.set("long", b"abc", 100)
    await cache.set("short", b"abc", 1)
    await cache.set("replaced", b"a", 1)
    await cache.set("replaced", b"abcdef", 100)
    now = 1.0

    assert await cache.get_many(["long", "short", "replaced"]) == [b"abc", None, b"abcdef"]
    assert cache.size == 2 * ENTRY_BYTES + len("longabcreplacedabcdef")
    now = 100.0
    assert await cache.get("another") is None
    assert (len(cache), cache.size) == (0, 0)


async def test_a_value_that_is_set_again_and_again_takes_its_place_alone() -> None:
    cache = LocalCache()
    for _ in range(5 * MAX_LOCAL_ENTRIES):
        await cache.set("a", b"b", 60)

    assert cache.size == ENTRY_BYTES + len("ab")
    assert len(cache._ends) <= 2 * MAX_LOCAL_ENTRIES


async def test_flushing_redis_only_forgets(server: Valkey) -> None:
    async with fresh(server) as cache:
        await cache.set("a", b"1", 60)
        server.redis.flushall()

        assert await cache.get("a") is None


async def test_a_value_of_another_type_is_no_value(server: Valkey) -> None:
    async with fresh(server) as cache:
        server.redis.rpush("list", "x")

        assert await cache.get("list") is None


async def test_redis_down_is_soft_and_its_return_is_noticed(server: Valkey) -> None:
    async with fresh(server) as cache:
        await cache.set("a", b"1", 60)
        server.kill()
        answers = await asked(cache)
        server.start()
        server.redis.set("a", b"3")
        await cached(cache, "a", b"3")

    assert answers is None


async def test_redis_frozen_is_soft(server: Valkey) -> None:
    async with fresh(server) as cache:
        await cache.set("a", b"1", 60)
        server.pause()
        answers = await asked(cache)
        server.resume()

    assert answers is None


async def test_a_redis_that_never_was_is_soft() -> None:
    async with open_cache(f"redis://127.0.0.1:{free_port()}/0") as cache:
        await cache.set("a", b"1", 60)

        assert await cache.get("a") is None
