"""What bounds a request before a route sees it: its size, how many its client has under way, the time of the edge."""

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import client_limits, refused
from gateway.middleware.limits import ClientLimits, LargeOrders
from gateway.rest import errors
from gateway.settings import GatewaySettings
from services.chassis.client_address import ClientLimit
from services.chassis.errors import ResourceExhausted, Unavailable
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import PNG, failure

MIB = 1024 * 1024
ENCODED = -(-10 * MIB // 3) * 4  # ten megabytes as base64
LIMITS = {
    "/api/share": MIB,
    "/api/generate-image": MIB + ENCODED,
    "/api/nano-banana/generate": MIB + ENCODED,
    "/api/callback/image-generated": 64 * 1024,
    "/api/callback/image-generated/tok": 64 * 1024,
    "/api/upload-image": 10 * MIB + 64 * 1024,
}


class Counted:
    """A body without a declared length, that counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 1024
            yield b" " * 1024


@pytest.mark.parametrize("path", LIMITS)
async def test_a_declared_length_above_the_limit_is_refused_before_reading(
    client: httpx.AsyncClient, path: str
) -> None:
    body = Counted()
    headers = {"Content-Length": str(LIMITS[path] + 1), "Content-Type": "application/json"}
    response = await client.post(path, content=body, headers=headers)

    assert response.status_code == 413
    assert response.json() == failure(
        "PAYLOAD_TOO_LARGE", f"The request is too large: at most {LIMITS[path]} bytes are taken here."
    )
    assert body.taken == 0


@pytest.mark.parametrize("path", ["/api/share", "/api/callback/image-generated"])
async def test_an_endless_body_is_refused_at_the_limit(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    body = Counted()
    response = await client.post(path, content=body)

    assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert body.taken == LIMITS[path] + 1024
    assert not doubles.generation.callbacks


async def test_a_body_of_exactly_the_limit_is_taken(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post("/api/callback/image-generated", content=b"x" * 64 * 1024)

    assert response.status_code == 200
    assert len(doubles.generation.callbacks[0].body) == 64 * 1024


GREEDY, OTHER = {"x-kawaii-client": "192.0.2.1"}, {"x-kawaii-client": "192.0.2.2"}


class HeldApp:
    """Answers when it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.release()
        await self.open.wait()
        await Response("done")(scope, receive, send)


def over(app: ASGIApp) -> httpx.AsyncClient:
    kinds = [("/slow", ClientLimit(1, "slow things"))]
    limits = ClientLimits(app, kinds, ClientLimit(1, "large requests"), ClientLimit(2, "requests"), errors.answer)
    return httpx.AsyncClient(transport=httpx.ASGITransport(limits), base_url="http://site.test")


async def test_a_client_that_has_too_much_under_way_is_refused_and_others_are_not() -> None:
    app = HeldApp()
    async with over(app) as client:
        paths = ["/a", "/b", "/slow/a"]
        held = [asyncio.create_task(client.get(path, headers=GREEDY)) for path in paths]
        for _ in paths:
            await app.inside.acquire()
        refused = [await client.get(path, headers=GREEDY) for path in ("/c", "/slow/b")]
        others = [asyncio.create_task(client.get(path, headers=OTHER)) for path in paths]
        for _ in paths:
            await app.inside.acquire()
        app.open.set()

        assert [answer.status_code for answer in refused] == [429, 429]
        assert {answer.json()["code"] for answer in refused} == {"TOO_MANY_REQUESTS"}
        assert refused[0].headers["retry-after"] == "1"
        assert [(await answer).text for answer in (*held, *others)] == ["done"] * 6
        assert (await client.get("/c", headers=GREEDY)).text == "done"


@pytest.mark.parametrize("headers", [{"content-length": "32769"}, {"transfer-encoding": "chunked"}])
async def test_a_body_that_streams_counts_apart_from_others(headers: dict[str, str]) -> None:
    app = HeldApp()
    async with over(app) as client:
        small = {"content-length": "32768"}
        held = [asyncio.create_task(client.post("/a", headers=GREEDY | each)) for each in (headers, small, small)]
        for _ in held:
            await app.inside.acquire()
        refused = [await client.post("/a", headers=GREEDY | each) for each in (headers, small)]
        app.open.set()

        assert [answer.status_code for answer in refused] == [429, 429]
        assert "1 large requests" in refused[0].json()["message"]
        assert [(await answer).text for answer in held] == ["done"] * 3


async def test_the_refusal_is_an_answer_like_any_other() -> None:
    app = refused(GatewaySettings(app_url="https://site.test"), ClientLimit(1, "requests").refusal())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site.test") as client:
        answer = await client.get("/api/share/list", headers={"Origin": "https://a.test"})

    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["cache-control"] == "no-store"
    assert {"access-control-allow-origin", "strict-transport-security", "retry-after"} <= answer.headers.keys()


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("/api/upload-image", 16),
        ("/api/download-and-upload", 16),
        ("/api/artworks/save-draft", 16),
        ("/api/img", 128),
        ("/api/images/gen_1", 128),
        ("/api/users/me/export", 4),
        ("/api/callback/image-generated/token", 64),
        ("/api/poll-task", 101),
        ("/api/generate-image", 128),
        ("/", 128),
    ],
)
async def test_each_kind_of_request_has_a_bound_of_its_own(path: str, places: int) -> None:
    app = HeldApp()
    kinds, streams, others = client_limits(GatewaySettings())
    limits = ClientLimits(app, kinds, streams, others, errors.answer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limits), base_url="http://site.test") as client:
        held = [asyncio.create_task(client.get(path, headers=GREEDY)) for _ in range(places)]
        for _ in held:
            await app.inside.acquire()
        one_more = await client.get(path, headers=GREEDY)
        app.open.set()

        assert one_more.status_code == 429
        assert {(await answer).status_code for answer in held} == {200}


@pytest.mark.parametrize("addresses", [("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "::ffff:192.0.2.1")])
async def test_a_household_is_one_client(addresses: tuple[str, str]) -> None:
    app = HeldApp()
    async with over(app) as client:
        first = asyncio.create_task(client.get("/slow", headers={"x-kawaii-client": addresses[0]}))
        await app.inside.acquire()
        second = await client.get("/slow", headers={"x-kawaii-client": addresses[1]})
        app.open.set()

        assert (second.status_code, (await first).status_code) == (429, 200)


PATH = "/api/generate-image"
LARGEST = PNG + b"x" * (10 * MIB - len(PNG))


@pytest.mark.parametrize(
    ("path", "field"),
    [(PATH, "fileUrl"), ("/api/flux-kontext/generate", "inputImage"), ("/api/nano-banana/generate", "imageUrls")],
)
async def test_the_largest_picture_fits_as_a_data_uri(
    client: httpx.AsyncClient, doubles: Doubles, path: str, field: str
) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(LARGEST).decode()}"
    given = [uri] if field == "imageUrls" else uri
    response = await client.post(
        path, json={"prompt": "a", "model": "nano-banana-edit" if given is not uri else None, field: given}
    )

    assert response.status_code == 200
    assert list(doubles.storage.kept.values()) == [LARGEST]


class ReadingApp:
    """Reads each body and answers when the test opens it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reading = asyncio.Semaphore(0)

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        self.reading.release()
        await self.open.wait()


def body(*sizes: int) -> Receive:
    """A body in pieces."""

    async def pieces() -> AsyncIterator[Message]:
        for number, size in enumerate(sizes, 1):
            yield {"type": "http.request", "body": b"x" * size, "more_body": number < len(sizes)}

    return aiter(pieces()).__anext__


async def send(_message: Message) -> None:
    """Nobody listens."""


def scope(path: str, client: str = "192.0.2.1") -> Scope:
    return {"type": "http", "path": path, "headers": [(b"x-kawaii-client", client.encode())]}


async def test_one_client_cannot_hold_all_large_orders() -> None:
    app = ReadingApp()
    bounded = LargeOrders(app, 10, 3, 2, [PATH])

    def order(client: str) -> asyncio.Task[None]:
        return asyncio.ensure_future(bounded(scope(PATH, client), body(11), send))

    greedy = [order("192.0.2.1"), order("192.0.2.1")]
    for _ in greedy:
        await app.reading.acquire()
    with pytest.raises(ResourceExhausted) as refused:
        await order("192.0.2.1")
    other = order("192.0.2.2")
    await app.reading.acquire()
    app.open.set()
    await asyncio.gather(*greedy, other)

    assert refused.value.reason == "TOO_MANY_REQUESTS"
    await order("192.0.2.1")


async def test_only_so_many_large_bodies_are_held_at_once_and_small_ones_pass() -> None:
    app = ReadingApp()
    bounded = LargeOrders(app, 10, 2, 2, [PATH])

    def order(*sizes: int, path: str = PATH) -> asyncio.Task[None]:
        return asyncio.ensure_future(bounded(scope(path), body(*sizes), send))

    held = [order(6, 6), order(11), order(10), order(5, 5), order(11, path="/api/upload-image")]
    for _ in held:
        await app.reading.acquire()
    for sizes in ((6, 6), (11,)):
        with pytest.raises(Unavailable) as refused:
            await order(*sizes)
        assert refused.value.reason == "TOO_MANY_LARGE_ORDERS"
    app.open.set()
    await asyncio.gather(*held)

    await asyncio.gather(order(11), order(11))


async def test_a_refused_large_order_is_told_when_to_come_again(client: httpx.AsyncClient, doubles: Doubles) -> None:
    """As JSON, like every failure; places come back with the answers."""
    large = orjson.dumps({"prompt": "a", "fileUrl": f"data:image/png;base64,{base64.b64encode(LARGEST).decode()}"})
    head = {"Content-Type": "application/json"}
    answers = await asyncio.gather(*(client.post(PATH, content=large, headers=head) for _ in range(3)))

    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await client.post(PATH, content=large, headers=head)).status_code == 200
    assert len(doubles.generation.rows) == len([answer for answer in answers if answer.status_code == 200]) + 1


DEADLINE = "x-envoy-expected-rq-timeout-ms"
SOON, LATER = {DEADLINE: "500"}, {DEADLINE: "60000"}
PICTURE = {"file": ("a.png", PNG)}
PASTED = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


async def test_nothing_is_ordered_for_a_client_who_was_told_that_it_failed(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    """Storage stands still until the time is over; an order placed after that would be billed and never seen."""
    doubles.storage.gate.clear()
    response = await client.post("/api/generate-image", json={"prompt": "a", "fileUrl": PASTED}, headers=SOON)
    doubles.storage.gate.set()

    assert (response.status_code, response.json()["code"]) == (504, "DEADLINE_EXCEEDED")
    assert doubles.storage.seconds < 0.5
    assert not doubles.generation.rows


async def test_a_route_of_several_calls_has_one_time_for_all(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.add("gen_1")
    await client.get("/api/get-generated-url?taskId=gen_1", headers=SOON)

    assert 0 < doubles.generation.seconds < 0.5
    assert 0 < doubles.storage.seconds < 0.5


async def test_the_time_begins_when_the_body_has_arrived(client: httpx.AsyncClient, doubles: Doubles) -> None:
    """The edge counts from there, so an upload over a slow line has more than what an answer may take."""
    request = client.build_request("POST", "/api/upload-image", files=PICTURE)
    body = request.read()

    async def dripping() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])

    response = await client.post("/api/upload-image", content=dripping(), headers={**request.headers, **LATER})

    assert response.status_code == 200
    assert doubles.storage.seconds > 60


@pytest.mark.parametrize("given", ["", "soon", "-1", "1e9", "9" * 30])
async def test_a_time_that_no_edge_would_give_is_ignored(client: httpx.AsyncClient, given: str) -> None:
    assert (await client.get("/api/share/latest", headers={DEADLINE: given})).status_code == 200
