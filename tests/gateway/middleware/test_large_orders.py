"""The largest picture fits into an order as a data: URI, and only so many such orders are in memory at once."""

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.middleware.large_orders import LargeOrders
from services.chassis.errors import ResourceExhausted, Unavailable
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import PNG

MIB = 1024 * 1024
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


class Door:
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
    """NoSignIn listens."""


def scope(path: str, client: str = "192.0.2.1") -> Scope:
    return {"type": "http", "path": path, "headers": [(b"x-kawaii-client", client.encode())]}


async def test_one_client_cannot_hold_all_large_orders() -> None:
    door = Door()
    bounded = LargeOrders(door, 10, 3, 2, [PATH])

    def order(client: str) -> asyncio.Task[None]:
        return asyncio.ensure_future(bounded(scope(PATH, client), body(11), send))

    greedy = [order("192.0.2.1"), order("192.0.2.1")]
    for _ in greedy:
        await door.reading.acquire()
    with pytest.raises(ResourceExhausted) as refused:
        await order("192.0.2.1")
    other = order("192.0.2.2")
    await door.reading.acquire()
    door.open.set()
    await asyncio.gather(*greedy, other)

    assert refused.value.reason == "TOO_MANY_REQUESTS"
    await order("192.0.2.1")


async def test_only_so_many_large_bodies_are_held_at_once_and_small_ones_pass() -> None:
    door = Door()
    bounded = LargeOrders(door, 10, 2, 2, [PATH])

    def order(*sizes: int, path: str = PATH) -> asyncio.Task[None]:
        return asyncio.ensure_future(bounded(scope(path), body(*sizes), send))

    held = [order(6, 6), order(11), order(10), order(5, 5), order(11, path="/api/upload-image")]
    for _ in held:
        await door.reading.acquire()
    for sizes in ((6, 6), (11,)):
        with pytest.raises(Unavailable) as refused:
            await order(*sizes)
        assert refused.value.reason == "TOO_MANY_LARGE_ORDERS"
    door.open.set()
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
