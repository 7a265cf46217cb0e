"""One client may have only so much under way of each kind; the others notice nothing."""

import asyncio

import httpx
import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import client_limits, refused
from gateway.middleware.client_limits import ClientLimits
from gateway.rest import errors
from gateway.settings import GatewaySettings
from services.chassis.client_limits import ClientLimit

GREEDY, OTHER = {"x-kawaii-client": "192.0.2.1"}, {"x-kawaii-client": "192.0.2.2"}


class Door:
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
    door = Door()
    async with over(door) as client:
        paths = ["/a", "/b", "/slow/a"]
        held = [asyncio.create_task(client.get(path, headers=GREEDY)) for path in paths]
        for _ in paths:
            await door.inside.acquire()
        refused = [await client.get(path, headers=GREEDY) for path in ("/c", "/slow/b")]
        others = [asyncio.create_task(client.get(path, headers=OTHER)) for path in paths]
        for _ in paths:
            await door.inside.acquire()
        door.open.set()

        assert [answer.status_code for answer in refused] == [429, 429]
        assert {answer.json()["code"] for answer in refused} == {"TOO_MANY_REQUESTS"}
        assert refused[0].headers["retry-after"] == "1"
        assert [(await answer).text for answer in (*held, *others)] == ["done"] * 6
        assert (await client.get("/c", headers=GREEDY)).text == "done"


@pytest.mark.parametrize("headers", [{"content-length": "32769"}, {"transfer-encoding": "chunked"}])
async def test_a_body_that_streams_counts_apart_from_others(headers: dict[str, str]) -> None:
    door = Door()
    async with over(door) as client:
        small = {"content-length": "32768"}
        held = [asyncio.create_task(client.post("/a", headers=GREEDY | each)) for each in (headers, small, small)]
        for _ in held:
            await door.inside.acquire()
        refused = [await client.post("/a", headers=GREEDY | each) for each in (headers, small)]
        door.open.set()

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
    door = Door()
    kinds, streams, others = client_limits(GatewaySettings())
    limits = ClientLimits(door, kinds, streams, others, errors.answer)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limits), base_url="http://site.test") as client:
        held = [asyncio.create_task(client.get(path, headers=GREEDY)) for _ in range(places)]
        for _ in held:
            await door.inside.acquire()
        one_more = await client.get(path, headers=GREEDY)
        door.open.set()

        assert one_more.status_code == 429
        assert {(await answer).status_code for answer in held} == {200}


@pytest.mark.parametrize("addresses", [("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "::ffff:192.0.2.1")])
async def test_a_household_is_one_client(addresses: tuple[str, str]) -> None:
    door = Door()
    async with over(door) as client:
        first = asyncio.create_task(client.get("/slow", headers={"x-kawaii-client": addresses[0]}))
        await door.inside.acquire()
        second = await client.get("/slow", headers={"x-kawaii-client": addresses[1]})
        door.open.set()

        assert (second.status_code, (await first).status_code) == (429, 200)
