"""Daily quotas count an order for the client's address and for the user; answers say what is left."""

import base64
import re

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.rest.rate_limits import person_subject
from services.chassis.errors import ResourceExhausted
from tests.gateway.auth.issuer import AUDIENCE, SECRET
from tests.gateway.auth.test_tokens import shared
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import PNG, failure

ROUTES = {
    "/api/generate-image": {"prompt": "a cat"},
    "/api/flux-kontext/generate": {"prompt": "a cat"},
    "/api/nano-banana/generate": {"prompt": "a cat", "model": "nano-banana"},
}
SENTENCE = "You have placed the 10 orders that a day allows. Come back after midnight in Japan."


@pytest.mark.parametrize(("path", "order"), ROUTES.items())
async def test_every_order_counts_for_the_client_that_the_edge_names(
    client: httpx.AsyncClient, doubles: Doubles, path: str, order: dict[str, str]
) -> None:
    forged = {"X-Forwarded-For": "198.51.100.1", "CF-Connecting-IP": "198.51.100.1"}
    await client.post(path, json=order, headers={**forged, "x-kawaii-client": "2001:db8::7"})

    assert doubles.generation.subjects == ["2001:db8::/64"]


@pytest.mark.parametrize(("path", "order"), ROUTES.items())
async def test_an_order_says_what_is_left_of_the_day(
    client: httpx.AsyncClient, doubles: Doubles, path: str, order: dict[str, str]
) -> None:
    delay = Duration(seconds=51_839, nanos=500_000_000)
    doubles.generation.quota = generationpb.Quota(limit=10, remaining=3, reset_delay=delay)
    response = await client.post(path, json=order)

    assert response.status_code == 200
    assert response.headers["ratelimit-policy"] == '"day";q=10;w=86400, "orders";q=150;w=150'
    assert response.headers["ratelimit"].startswith('"day";r=3;t=51840, "orders";r=149;t=')
    assert response.headers["x-ratelimit-limit"] == "10"
    assert response.headers["x-ratelimit-remaining"] == "3"
    assert re.fullmatch(r"\d{10}", response.headers["x-ratelimit-reset"])


@pytest.mark.parametrize(("path", "order"), ROUTES.items())
async def test_one_order_too_many_is_a_429_that_any_page_can_read(
    client: httpx.AsyncClient, doubles: Doubles, path: str, order: dict[str, str]
) -> None:
    doubles.generation.failure = ResourceExhausted(SENTENCE, metadata={"quota_limit": "10"}, retry_after=51_839.5)
    response = await client.post(path, json=order, headers={"Origin": "https://a.example"})

    assert response.status_code == 429
    assert response.json() == failure("RATE_LIMIT", SENTENCE)
    assert response.headers["retry-after"] == "51840"
    assert response.headers["ratelimit-policy"] == '"day";q=10;w=86400'
    assert response.headers["ratelimit"] == '"day";r=0;t=51840'
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"]


async def test_a_pasted_picture_goes_with_the_order_that_was_one_too_many(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    doubles.generation.failure = ResourceExhausted(SENTENCE, metadata={"quota_limit": "10"}, retry_after=60.0)
    pasted = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    response = await client.post("/api/generate-image", json={"prompt": "a cat", "fileUrl": pasted})

    assert response.status_code == 429
    assert doubles.storage.rows == []


async def test_without_a_quota_no_answer_speaks_of_one(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/generate-image", json={"prompt": "a cat"})

    assert not [name for name in response.headers if name.startswith("x-ratelimit")]
    assert '"day"' not in response.headers["ratelimit"]


@pytest.mark.parametrize(("path", "order"), ROUTES.items())
async def test_an_order_of_whoever_is_signed_in_counts_for_them_too(
    connect_with: Connect, doubles: Doubles, path: str, order: dict[str, str]
) -> None:
    client = connect_with(auth_hs256_secret=SECRET, auth_audience=AUDIENCE)
    for token in (shared(sub="mei"), "no token of ours"):
        headers = {"x-kawaii-client": "192.0.2.1", "Authorization": f"Bearer {token}"}
        await client.post(path, json=order, headers=headers)

    assert doubles.generation.subjects == ["192.0.2.1", person_subject("mei"), "192.0.2.1"]
    assert "mei" not in person_subject("mei")


async def test_the_developer_who_stands_for_everybody_is_no_person_who_is_counted(
    connect_with: Connect, doubles: Doubles
) -> None:
    client = connect_with(auth_dev_mode=True, app_url="http://localhost:8080")
    await client.post("/api/generate-image", json={"prompt": "a cat"}, headers={"x-kawaii-client": "127.0.0.1"})

    assert doubles.generation.subjects == ["127.0.0.1"]


async def test_a_site_whose_day_is_used_up_says_so_and_until_when(client: httpx.AsyncClient, doubles: Doubles) -> None:
    sentence = "This site takes 500 orders a day from all its visitors together, and they are placed."
    doubles.generation.failure = ResourceExhausted(sentence, "SITE_QUOTA_EXCEEDED", retry_after=51_839.5)
    pasted = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    response = await client.post("/api/generate-image", json={"prompt": "a cat", "fileUrl": pasted})

    assert response.status_code == 429
    assert response.json() == failure("SITE_QUOTA_EXCEEDED", sentence)
    assert response.headers["retry-after"] == "51840"
    assert doubles.storage.rows == []
