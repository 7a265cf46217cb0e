"""What anonymous callers write and order is bounded by address, in a way that no person meets."""

import httpx
import pytest

from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import PNG

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
