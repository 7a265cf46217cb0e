"""Repeated reads are answered from the cache, to the byte, until a write; one share without the layers."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY, Counter
from starlette.middleware import Middleware
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import make_app
from gateway.middleware.headers import Cors, SecurityHeaders
from gateway.response_cache import (
    MAX_ORIGINS,
    OVERHEAD_BYTES,
    Answer,
    ByteCache,
    LayerHeaders,
    ResponseCacheLayer,
    size_of,
)
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import ORIGIN

PICTURE = "https://a.test/1.png"
TOKEN = "ptk_shares/share_1"
READS = ("/api/share/share_1", "/api/share?id=share_1", "/api/share/list?limit=2", "/api/share/latest")


@pytest.fixture
def client(connect_with: Connect) -> httpx.AsyncClient:
    """A client of a gateway that keeps answers as long as it may."""
    return connect_with(read_cache_seconds=2)


def fill(doubles: Doubles, number: int = 3) -> None:
    for place in range(number):
        doubles.share.add(f"share_{place}", generated_uri=f"https://a.test/{place}.png", style="anime")


def without_id(response: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = [(name, value) for name, value in response.headers.multi_items() if name != "x-request-id"]
    return response.status_code, response.content, sorted(headers)


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("origin", [{}, {"Origin": "https://a.example"}])
async def test_an_answer_is_given_again_to_the_byte(
    client: httpx.AsyncClient, connect_with: Connect, doubles: Doubles, path: str, origin: dict[str, str]
) -> None:
    fill(doubles)
    first = await client.get(path, headers=origin)
    uncached = await connect_with(read_cache_seconds=0).get(path, headers=origin)
    doubles.share.rows.clear()  # behind everybody's back
    again = await client.get(path, headers={**origin, "X-Request-Id": "mine"})

    assert first.status_code == 200
    assert without_id(again) == without_id(first) == without_id(uncached)
    assert again.headers["x-request-id"] == "mine"
    assert again.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://a.example"}, {"Origin": "https://evil.example"}])
@pytest.mark.parametrize("settings", [{}, {"cors_allowed_origins": ("https://a.example",)}])
async def test_a_quick_read_is_the_one_that_passes_the_layers(
    connect_with: Connect, doubles: Doubles, origin: dict[str, str], settings: dict[str, Any]
) -> None:
    fill(doubles)
    client = connect_with(read_cache_seconds=0, **settings)

    quick = await client.get("/api/share/share_1", headers=origin)
    slow = await client.get("/api/share?id=share_1", headers=origin)

    assert without_id(quick) == without_id(slow)
    assert (await client.get("/api/share/share_2", headers=origin)).json()["data"]["id"] == "share_2"


async def test_each_answer_has_a_request_id_that_is_safe_to_log(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles)
    ids = [
        (await client.get(READS[0], headers={"X-Request-Id": given})).headers["x-request-id"]
        for given in ("a", "b", "not an id\x7f", "x" * 200)
    ]

    assert ids[:2] == ["a", "b"]
    assert all(each.startswith("req_") for each in ids[2:])
    assert len(set(ids)) == 4


@pytest.mark.parametrize("path", READS)
async def test_whoever_holds_an_answer_gets_304_until_it_changes(
    client: httpx.AsyncClient, connect_with: Connect, doubles: Doubles, path: str
) -> None:
    fill(doubles)
    for each in (client, connect_with(read_cache_seconds=0)):
        first = await each.get(path)
        etag = first.headers["etag"]
        for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await each.get(path, headers={"If-None-Match": held})
            assert (again.status_code, again.content) == (304, b"")
            assert "content-length" not in again.headers
            for name in ("etag", "cache-control", "vary", "x-robots-tag", "access-control-allow-origin"):
                assert again.headers.get(name) == first.headers.get(name)
        assert (await each.get(path, headers={"If-None-Match": '"other"'})).content == first.content


WRITES: dict[str, Callable[[httpx.AsyncClient], Any]] = {
    "share": lambda client: client.post("/api/share", json={"generatedUrl": "https://a.test/new.png"}),
    "publish": lambda client: client.put("/api/share/share_1", json={"action": "publish", "token": TOKEN}),
    "delete": lambda client: client.delete("/api/share/share_1", headers={"X-Share-Token": TOKEN}),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_shows_in_the_very_next_read(
    client: httpx.AsyncClient, connect_with: Connect, doubles: Doubles, write: str
) -> None:
    fill(doubles)
    for path in READS:
        await client.get(path)

    assert (await WRITES[write](client)).status_code == 200

    uncached = connect_with(read_cache_seconds=0)
    for path in READS:
        assert without_id(await client.get(path)) == without_id(await uncached.get(path))


async def test_a_write_that_was_refused_leaves_what_is_kept(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles)
    first = await client.get("/api/share/latest")
    await client.post("/api/share", json={})
    await client.put("/api/share/share_1", json={"action": "publish", "token": "wrong"})
    await client.request("OPTIONS", "/api/share")
    doubles.share.rows.clear()

    assert (await client.get("/api/share/latest")).content == first.content


@pytest.mark.parametrize("path", ["/api/share/share_none", "/api/share/list?limit=x", "/api/share"])
async def test_failures_are_not_kept(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    assert (await client.get(path)).status_code in {400, 404}
    doubles.share.add("share_none", generated_uri=PICTURE)

    response = await client.get(path)
    assert response.status_code == (200 if path.endswith("none") else 400)
    assert "etag" not in response.headers or response.status_code == 200


async def test_an_answer_given_again_is_counted(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles)
    labels = {"route": "/api/share/{id}", "method": "GET", "status": "200"}

    def counted() -> float:
        return REGISTRY.get_sample_value("http_requests_total", labels) or 0

    before = counted()
    for _ in range(3):
        await client.get("/api/share/share_1")

    assert counted() == before + 3


async def test_different_records_at_the_same_time_are_asked_for_together(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    fill(doubles, 40)
    answers = await asyncio.gather(*(client.get(f"/api/share/share_{place}") for place in range(40)))

    assert [answer.json()["data"]["id"] for answer in answers] == [f"share_{place}" for place in range(40)]
    assert len(doubles.share.batches) < 10
    assert sum(map(len, doubles.share.batches)) == 40


@pytest.mark.parametrize("seconds", [0, 2])
async def test_equal_reads_at_the_same_time_share_one_call(
    connect_with: Connect, doubles: Doubles, seconds: float
) -> None:
    fill(doubles)
    client = connect_with(read_cache_seconds=seconds)
    answers = await asyncio.gather(*(client.get("/api/share/share_1") for _ in range(20)))

    assert {answer.content for answer in answers} == {answers[0].content}
    assert doubles.share.batches == [["shares/share_1"]]


@pytest.mark.parametrize(
    "query", ["utm=1", "limit=2&limit=3", f"cursor={'9' * 600}", f"style={'a' * 55_000}", "limit=2&x"]
)
async def test_reads_that_anybody_may_invent_are_not_kept(
    client: httpx.AsyncClient, doubles: Doubles, query: str
) -> None:
    fill(doubles)
    first = await client.get(f"/api/share/list?{query}")
    doubles.share.add("share_new", generated_uri=PICTURE)  # behind everybody's back
    again = await client.get(f"/api/share/list?{query}")

    assert "etag" not in first.headers
    assert first.status_code == again.status_code
    assert again.status_code == 400 or again.content != first.content


@pytest.mark.parametrize(("settings", "kept"), [({}, 1), ({"cors_allowed_origins": ("https://a.example",)}, 2)])
async def test_a_flood_of_queries_and_origins_keeps_no_more_than_the_bound(
    doubles: Doubles, settings: dict[str, Any], kept: int
) -> None:
    """Each invented origin had an entry of its own, and none of its 55 KB was counted."""
    fill(doubles)
    cache = ByteCache(2, 200_000, clock=lambda: 0.0)
    app = make_app(GatewaySettings(app_url=ORIGIN, **settings), doubles.clients, kept=cache)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        for origin in ("https://a.example", *(f"https://{number}{'b' * 55_000}.example" for number in range(20))):
            answer = await client.get("/api/share/share_1", headers={"Origin": origin})
            assert answer.status_code == 200
            assert len(answer.headers.get("access-control-allow-origin", "")) < 20
        assert len(cache) == kept
        before = cache.size
        for number in range(300):
            await client.get(f"/api/share/list?offset={number}")

    assert before < cache.size <= cache.max_bytes


class Slow:
    """An application that answers when it is told to, with what it was told."""

    def __init__(self, *, stream: bool = False, fails: bool = False) -> None:
        self.asked: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()
        self._stream, self._fails = stream, fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(answer)
        words = await answer
        if self._fails:
            raise RuntimeError(words)
        response = StreamingResponse(iter([words, "!"])) if self._stream else Response(words)
        await response(scope, receive, send)


async def never(_scope: Scope, _origin: bytes) -> None:
    """No read is quick."""


def over(app: Slow, kept: ByteCache) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(ResponseCacheLayer(app, kept, never), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://site.test")


@pytest.mark.parametrize("seconds", [0, 2])
async def test_who_asks_the_same_meanwhile_waits_for_the_one_answer(seconds: float) -> None:
    slow = Slow()
    async with over(slow, ByteCache(seconds, 10**6)) as client:
        reads = [asyncio.create_task(client.get("/api/share/latest")) for _ in range(5)]
        (await slow.asked.get()).set_result("once")

        assert [(await read).text for read in reads] == ["once"] * 5
        assert slow.asked.empty()


async def test_who_asks_after_a_change_does_not_join_a_read_that_began_before() -> None:
    slow, kept = Slow(), ByteCache(2, 10**6)
    async with over(slow, kept) as client:
        early = asyncio.create_task(client.get("/api/share/a"))
        first = await slow.asked.get()
        kept.clear()  # the change is heard of
        late = asyncio.create_task(client.get("/api/share/a"))
        second = await slow.asked.get()
        second.set_result("new")
        assert (await late).text == "new"
        first.set_result("old")

        assert (await early).text == "old"
        assert (await client.get("/api/share/a")).text == "new"


async def test_those_who_wait_for_a_read_that_fails_ask_for_themselves() -> None:
    slow = Slow(fails=True)
    async with over(slow, ByteCache(2, 10**6)) as client:
        both = [asyncio.create_task(client.get("/api/share/a")) for _ in range(2)]
        (await slow.asked.get()).set_result("first")
        (await slow.asked.get()).set_result("second")

        assert [(await each).status_code for each in both] == [500, 500]


async def test_a_stream_is_passed_on_and_not_kept() -> None:
    slow = Slow(stream=True)
    async with over(slow, ByteCache(2, 10**6)) as client:
        for words in ("one", "two"):
            read = asyncio.create_task(client.get("/api/share/a"))
            (await slow.asked.get()).set_result(words)
            assert (await read).text == f"{words}!"


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/poll-task"), ("OPTIONS", "/api/share/a")])
async def test_other_requests_pass_by(method: str, path: str) -> None:
    slow = Slow()
    async with over(slow, ByteCache(2, 10**6)) as client:
        for words in ("one", "two"):
            read = asyncio.create_task(client.request(method, path))
            (await slow.asked.get()).set_result(words)
            response = await read
            assert (response.text, response.headers.get("etag")) == (words, None)


SERVED = Counter("test_served", "Answers of this test.", registry=None)


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def answer(size: int = 10) -> Answer:
    return Answer([], b"x" * size, b'"e"', SERVED)


def cache(seconds: float = 1, answers: int = 10, clock: Clock | None = None) -> ByteCache:
    return ByteCache(seconds, answers * size_of(("a",), answer()), clock or Clock())


def test_keys_headers_bodies_and_validators_are_counted() -> None:
    kept = ByteCache(1, 10**6, Clock())
    kept.put(("a" * 1000, b"b" * 2000), Answer([(b"c" * 3000, b"d" * 4000)], b"e" * 5000, b"f" * 6000, SERVED), 0)

    assert 21_000 < kept.size < 25_000
    kept.clear()
    assert kept.size == len(kept) == 0


def test_an_answer_whose_time_is_over_takes_no_memory() -> None:
    clock = Clock()
    kept = cache(clock=clock)
    kept.put(("a",), answer(), kept.epoch)
    clock.now += 0.5
    kept.put(("b",), answer(), kept.epoch)
    clock.now += 0.5
    kept.get(("c",))
    assert (len(kept), kept.size) == (1, size_of(("b",), answer()))

    clock.now += 0.5
    kept.put(("c",), answer(), kept.epoch)
    assert (len(kept), kept.size) == (1, size_of(("c",), answer()))


def test_an_answer_that_is_put_again_is_counted_once() -> None:
    kept = cache()
    for _ in range(3):
        kept.put(("a",), answer(), kept.epoch)

    assert kept.size == size_of(("a",), answer())


def test_an_answer_is_given_until_its_time_is_over() -> None:
    clock = Clock()
    kept, given = cache(clock=clock), answer()
    kept.put(("a",), given, kept.epoch)

    assert kept.get(("a",)) is given
    assert kept.get(("b",)) is None
    clock.now += 0.99
    assert kept.get(("a",)) is given
    clock.now += 0.01
    assert kept.get(("a",)) is None


def test_clearing_forgets_everything_and_what_was_on_its_way() -> None:
    kept = cache()
    kept.put(("a",), answer(), kept.epoch)
    begun = kept.epoch
    kept.clear()
    kept.put(("b",), answer(), begun)

    assert kept.get(("a",)) is kept.get(("b",)) is None
    kept.put(("c",), answer(), kept.epoch)
    assert kept.get(("c",))


def test_the_oldest_answers_make_room() -> None:
    kept = cache(answers=3)
    for key in "abacd":
        kept.put((key,), answer(), kept.epoch)

    assert [key for key in "abcd" if kept.get((key,))] == ["a", "c", "d"]


def test_an_answer_beyond_the_bound_is_not_kept_and_costs_the_others_nothing_for_long() -> None:
    kept = cache(answers=3)
    kept.put(("a",), answer(10 * OVERHEAD_BYTES), kept.epoch)
    assert kept.get(("a",)) is None

    for key in "bcd":
        kept.put((key,), answer(), kept.epoch)
    assert all(kept.get((key,)) for key in "bcd")


def test_it_can_be_switched_off() -> None:
    kept = cache(seconds=0)
    kept.put(("a",), answer(), kept.epoch)

    assert kept.get(("a",)) is None


class Counted:
    """A layer that counts how often it is asked."""

    asked = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Counted.asked += 1
        await self._app(scope, receive, send)


async def test_it_holds_what_the_layers_write_for_an_origin() -> None:
    layers = [Middleware(SecurityHeaders, "http://a.test"), Middleware(Cors, ["https://b.test"])]
    layer_headers = LayerHeaders(layers, "application/json", {"X-Robots-Tag": "index"})

    listed, stranger = dict(await layer_headers.of(b"https://b.test")), dict(await layer_headers.of(b"https://c.test"))

    assert listed[b"access-control-allow-origin"] == b"https://b.test"
    assert b"access-control-allow-origin" not in stranger
    for headers in (listed, stranger):
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"x-robots-tag"] == b"index"
        assert headers[b"x-frame-options"] == b"SAMEORIGIN"
        assert b"content-length" not in headers


async def test_it_asks_once_for_each_origin_and_remembers_so_many() -> None:
    layer_headers, before = LayerHeaders([Middleware(Counted)], "application/json", {}), Counted.asked
    for _ in range(3):
        await layer_headers.of(b"https://a.test")
    assert Counted.asked == before + 1

    for number in range(2 * MAX_ORIGINS):
        await layer_headers.of(b"https://%d.test" % number)

    assert len(layer_headers._known) <= MAX_ORIGINS
