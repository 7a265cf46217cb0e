"""Token buckets: a burst passes, a flood does not, others are not bounded, and Redis may be away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from gateway.rest.rate_limits import MICROSECONDS, Buckets, LocalBuckets, Policy, RateLimits, RedisBuckets, open_buckets
from gateway.settings import GatewaySettings
from services.chassis.errors import FailedPrecondition
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import PNG
from tests.support.engines import skip_if_missing
from tests.support.valkey import Valkey, valkey_server

PATIENT = 30.0  # a busy machine must not look like a Redis that is away
SLOW = Policy("orders", per_minute=1, burst=10)  # none comes back while a test runs


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with skip_if_missing(), valkey_server() as server:
        yield server


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
            valkey.resume()


def test_the_defaults_let_a_burst_of_a_hundred_pass() -> None:
    limits = RateLimits.of(GatewaySettings().rate_limits, LocalBuckets()).policies

    assert set(limits) == {"orders", "uploads", "imports", "shares"}
    assert all(policy.burst >= 100 and policy.what == name for name, policy in limits.items())
    assert GatewaySettings(rate_limits_enabled=False).rate_limits == {}


PICTURE = "https://pictures.example/a.png"
SHARE = {"originalUrl": PICTURE, "generatedUrl": PICTURE, "prompt": "a cat"}
ROUTES = {
    "/api/generate-image": ("orders", {"json": {"prompt": "a cat"}}),
    "/api/flux-kontext/generate": ("orders", {"json": {"prompt": "a cat"}}),
    "/api/nano-banana/generate": ("orders", {"json": {"prompt": "a cat", "model": "nano-banana"}}),
    "/api/upload-image": ("uploads", {"files": {"file": ("a.png", PNG, "image/png")}}),
    "/api/download-and-upload": ("imports", {"json": {"url": PICTURE}}),
    "/api/share": ("shares", {"json": SHARE}),
}


async def post(client: httpx.AsyncClient, path: str, address: str = "192.0.2.1") -> httpx.Response:
    return await client.post(path, headers={"x-kawaii-client": address}, **ROUTES[path][1])  # type: ignore[arg-type] # json or files


@pytest.mark.parametrize("path", ROUTES)
async def test_a_hundred_at_once_pass_by_default(client: httpx.AsyncClient, path: str) -> None:
    answers = [await post(client, path) for _ in range(100)]

    assert 429 not in {answer.status_code for answer in answers}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_flood_is_refused_with_a_sentence_and_others_are_not(connect_with: Connect, path: str) -> None:
    what = ROUTES[path][0]
    client = connect_with(**{f"rate_limit_{what}_burst": 2, f"rate_limit_{what}_per_minute": 1})
    passed = [await post(client, path) for _ in range(2)]
    refused = await post(client, path)

    assert 429 not in {answer.status_code for answer in passed}
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
    assert f"Too many {what} came from your address" in refused.json()["error"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-policy"] == f'"{what}";q=2;w=120'
    assert refused.headers["ratelimit"] == f'"{what}";r=0;t={refused.headers["retry-after"]}'
    assert refused.headers["access-control-allow-origin"] == "*"
    assert (await post(client, path, "192.0.2.2")).status_code != 429


async def test_an_order_that_is_wrong_or_refused_shows_the_state_of_its_bucket_too(
    connect_with: Connect, doubles: Doubles
) -> None:
    client = connect_with(rate_limit_orders_burst=5, rate_limit_orders_per_minute=1)
    wrong = await client.post("/api/generate-image", json={}, headers={"x-kawaii-client": "192.0.2.1"})
    doubles.generation.failure = FailedPrecondition("The upstream refused it.", "PROVIDER_REJECTED")
    refused = await post(client, "/api/generate-image")

    assert (wrong.status_code, wrong.headers["ratelimit"].partition(";t=")[0]) == (400, '"orders";r=4')
    assert (refused.json()["code"], refused.headers["ratelimit"].partition(";t=")[0]) == (
        "PROVIDER_REJECTED",
        '"orders";r=3',
    )


async def test_the_three_ways_to_order_share_one_bucket(connect_with: Connect) -> None:
    client = connect_with(rate_limit_orders_burst=3, rate_limit_orders_per_minute=1)
    paths = [path for path in ROUTES if ROUTES[path][0] == "orders"]
    answers = [(await post(client, path)).status_code for path in (*paths, paths[0])]

    assert answers == [200, 200, 200, 429]


async def test_one_network_of_ipv6_has_one_bucket(connect_with: Connect) -> None:
    client = connect_with(rate_limit_orders_burst=2, rate_limit_orders_per_minute=1)
    inside = [(await post(client, "/api/generate-image", f"2001:db8:1:2::{n}")).status_code for n in range(1, 4)]

    assert inside == [200, 200, 429]
    assert (await post(client, "/api/generate-image", "2001:db8:1:3::1")).status_code == 200


async def test_an_answer_says_what_is_left(connect_with: Connect) -> None:
    client = connect_with(rate_limit_orders_burst=2, rate_limit_orders_per_minute=1)
    answer = await post(client, "/api/generate-image")

    assert answer.headers["ratelimit-policy"] == '"orders";q=2;w=120'
    assert answer.headers["ratelimit"] == '"orders";r=1;t=60'


async def test_limits_that_are_off_bound_nothing_and_say_nothing(connect_with: Connect) -> None:
    client = connect_with(rate_limits_enabled=False, rate_limit_orders_burst=1, rate_limit_orders_per_minute=1)
    answers = [await post(client, "/api/generate-image") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not [name for answer in answers for name in answer.headers if "ratelimit" in name]


async def test_a_refused_order_reaches_nobody(connect_with: Connect, doubles: Doubles) -> None:
    client = connect_with(rate_limit_orders_burst=1, rate_limit_orders_per_minute=1)
    for _ in range(3):
        await post(client, "/api/generate-image")

    assert len(doubles.generation.rows) == 1


async def test_reads_are_not_bounded(connect_with: Connect) -> None:
    client = connect_with(rate_limit_shares_burst=1, rate_limit_shares_per_minute=1)
    answers = {(await client.get("/api/share/list")).status_code for _ in range(5)}

    assert answers == {200}
