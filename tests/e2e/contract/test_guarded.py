"""What is on every answer of a stack that is guarded: an exact daily quota by trusted address, and a list of origins.

See docs/rest.md#every-answer.
"""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

ARTWORK = "/api/artworks/generate"
GPT4O, FLUX, NANO = "/api/generate-image", "/api/flux-kontext/generate", "/api/nano-banana/generate"
ALLOWED = ("access-control-allow-origin", "access-control-allow-credentials", "vary")


def order(stack: Stack, client: str, path: str = GPT4O, **headers: str) -> httpx.Response:
    """Order as a client whose address the trusted proxy before the stack writes."""
    body = {"prompt": "a cat within bounds", "model": "nano-banana"} if path == NANO else {"prompt": "a cat"}
    return stack.http.post(path, json=body, headers={"X-Forwarded-For": client, **headers})


def left(answer: httpx.Response) -> str:
    """How many orders are left of the day, as the answer says."""
    return answer.headers["ratelimit"].partition(";t=")[0]


def test_the_three_ways_to_order_share_one_quota_and_count_down(guarded: Stack, validated: Validated) -> None:
    answers = [order(guarded, "203.0.113.1", path) for path in (GPT4O, FLUX, NANO, GPT4O)]
    refused = answers.pop()

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [left(answer) for answer in answers] == [
        '"day";r=2',
        '"day";r=1',
        '"day";r=0',
    ]
    assert (refused.status_code, validated(refused)["code"]) == (429, "RATE_LIMIT")
    assert refused.headers["ratelimit-policy"] == '"day";q=3;w=86400'
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert refused.headers["x-frame-options"] == "SAMEORIGIN"
    assert refused.headers["x-request-id"]


def test_of_twenty_orders_at_once_exactly_three_are_taken(guarded: Stack) -> None:
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: order(guarded, "203.0.113.2").status_code, range(20)))

    assert sorted(answers) == [200] * 3 + [429] * 17


def test_what_the_client_says_of_itself_makes_no_second_client(guarded: Stack) -> None:
    """The proxy appends the address it saw; what stands before it came from the client."""
    forged = [f"198.51.100.{number}, 203.0.113.3" for number in range(5)]
    headers = {"CF-Connecting-IP": "198.51.100.9", "X-Real-IP": "198.51.100.9", "x-kawaii-client": "198.51.100.9"}
    answers = [order(guarded, chain, **headers).status_code for chain in forged]

    assert answers == [200, 200, 200, 429, 429]


def test_one_network_of_ipv6_is_one_client(guarded: Stack) -> None:
    inside = [order(guarded, f"2001:db8:1:2::{number}").status_code for number in range(1, 5)]

    assert inside == [200, 200, 200, 429]
    assert order(guarded, "2001:db8:1:3::1").status_code == 200


def test_artworks_count_for_the_same_quota_and_say_so(guarded: Stack) -> None:
    client = {"X-Forwarded-For": "203.0.113.5"}
    ordered = [guarded.http.post(ARTWORK, json={"prompt": "a cat within bounds"}, headers=client) for _ in range(3)]
    refused = guarded.http.post(ARTWORK, json={"prompt": "a cat beyond bounds"}, headers=client)

    assert [answer.status_code for answer in ordered] == [200] * 3, ordered[0].text
    assert [left(answer) for answer in (*ordered, refused)] == ['"day";r=2', '"day";r=1', '"day";r=0', '"day";r=0']
    assert {answer.headers["ratelimit-policy"] for answer in (*ordered, refused)} == {'"day";q=3;w=86400'}
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMIT")


def test_an_order_that_is_wrong_or_repeated_does_not_count(guarded: Stack) -> None:
    client = {"X-Forwarded-For": "203.0.113.4"}
    for body in ({}, {"prompt": " "}, {"prompt": 7}, {"prompt": "a", "fileUrl": "file:///x"}):
        assert guarded.http.post(GPT4O, json=body, headers=client).status_code == 400
    first = order(guarded, "203.0.113.4", **{"Idempotency-Key": "once"})
    again = order(guarded, "203.0.113.4", **{"Idempotency-Key": "once"})
    second = order(guarded, "203.0.113.4")

    assert again.json() == first.json()
    assert '"day"' not in again.headers["ratelimit"]
    assert [left(one) for one in (first, second)] == ['"day";r=2', '"day";r=1']


@pytest.mark.parametrize("path", ["/api/share/latest", "/api/nowhere", "/api/share%2Flist", "/api/image-details"])
def test_a_listed_origin_is_echoed_with_credentials_whoever_answers(guarded: Stack, path: str) -> None:
    for origin in ("https://our.site", "http://localhost:3000"):
        answer = guarded.http.get(path, headers={"Origin": origin})
        assert [answer.headers.get(name) for name in ALLOWED] == [origin, "true", "Origin"]


@pytest.mark.parametrize("path", ["/api/share/latest", "/api/nowhere", "/api/share%2Flist"])
@pytest.mark.parametrize(
    "origin", ["null", "https://our.site.evil", "https://OUR.site", "http://our.site", "https://our.site:444"]
)
def test_no_other_origin_is_let_in_whoever_answers(guarded: Stack, path: str, origin: str) -> None:
    answer = guarded.http.get(path, headers={"Origin": origin})

    assert [answer.headers.get(name) for name in ALLOWED] == [None, None, "Origin"]


def test_a_burst_of_shares_passes_and_a_flood_is_told_when_to_come_back(guarded: Stack, validated: Validated) -> None:
    def share(client: str) -> httpx.Response:
        return guarded.http.post("/api/share", json={}, headers={"X-Forwarded-For": client})

    answers = [share("203.0.113.77") for _ in range(170)]
    refused = answers[-1]

    assert 429 not in {answer.status_code for answer in answers[:100]}
    assert (refused.status_code, validated(refused)["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-policy"] == '"shares";q=150;w=9000'
    assert share("203.0.113.78").status_code != 429
