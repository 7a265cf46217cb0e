"""The time the edge gives a request bounds all that we do for it."""

import base64
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import PNG

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
    await client.get("/api/get-generated-url?taskId=gen_1", headers=LATER)

    assert 58 < doubles.generation.seconds < 60
    assert 58 < doubles.storage.seconds < 60


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
