"""Ordering with `Prefer: wait=N`: the usual answer, and the picture when it is done in time (docs/rest.md#waiting)."""

import asyncio
from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import FILES
from tests.support.polling import eventually

Generation = generationpb.Generation
ROUTES: dict[str, dict[str, Any]] = {
    "/api/generate-image": {"prompt": "a"},
    "/api/flux-kontext/generate": {"prompt": "a"},
    "/api/nano-banana/generate": {"prompt": "a", "model": "nano-banana"},
}
GPT4O, ORDER = "/api/generate-image", {"prompt": "a"}
ACCEPTED = {
    "success": True,
    "taskId": "gen_1",
    "message": "The order is accepted. Ask for the details of this taskId until the picture is done.",
    "status": "pending",
    "data": {"code": 200, "msg": "success", "data": {"taskId": "gen_1"}},
}
URL, TEMPORARY = f"{FILES}/a.png", "https://tempfile.aiquickdraw.com/a.png"
STORED: dict[str, Any] = {"state": Generation.STATE_SUCCEEDED, "outputs": [Generation.Output(uri=URL)]}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_picture_that_is_done_in_time_is_in_the_answer(
    client: httpx.AsyncClient, doubles: Doubles, path: str
) -> None:
    asked = asyncio.create_task(client.post(path, json=ROUTES[path], headers={"Prefer": "wait=30"}))
    await eventually(lambda: doubles.generation.watchers)
    doubles.generation.change("gen_1", state=Generation.STATE_RUNNING, progress_percent=50)
    doubles.generation.change("gen_1", **STORED)
    response = await asked

    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=30")
    model = {"model": "google/nano-banana"} if "nano" in path else {}
    done = {"status": "completed", "message": "The picture is done.", "url": URL, "urls": [URL]}
    assert response.json() == {**ACCEPTED, **model, **done}


async def test_a_picture_that_shows_is_not_kept_back_for_its_copy(client: httpx.AsyncClient, doubles: Doubles) -> None:
    asked = asyncio.create_task(client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=30"}))
    await eventually(lambda: doubles.generation.watchers)
    failed = Generation.Output(source_uri=TEMPORARY, error_message="It timed out.")
    doubles.generation.change("gen_1", state=Generation.STATE_STORING, outputs=[failed])

    assert (await asked).json()["urls"] == [TEMPORARY]


async def test_a_failure_in_time_says_why(client: httpx.AsyncClient, doubles: Doubles) -> None:
    asked = asyncio.create_task(client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=30"}))
    await eventually(lambda: doubles.generation.watchers)
    error = Generation.Error(reason="PROVIDER_FAILED", message="The provider could not draw it.")
    doubles.generation.change("gen_1", state=Generation.STATE_FAILED, error=error)

    failed = {"status": "failed", "message": "The provider could not draw it."}
    assert (await asked).json() == {**ACCEPTED, **failed}


async def test_when_the_time_is_over_the_answer_is_the_usual_one(client: httpx.AsyncClient) -> None:
    response = await client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=1"})

    assert response.json() == ACCEPTED
    assert response.headers["preference-applied"] == "wait=1"


@pytest.mark.parametrize(
    ("preference", "applied"),
    [
        ("wait=5", "wait=5"),
        ("WAIT = 5", "wait=5"),
        ('respond-async, wait="5"', "wait=5"),
        ("handling=lenient; x=y, wait=5; foo", "wait=5"),
        ("wait=5, wait=9", "wait=5"),
        ("wait=3600", "wait=55"),
        ("wait=0", None),
        ("respond-async", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("waits=5", None),
        ("", None),
    ],
)
async def test_only_what_is_understood_is_applied_and_never_for_longer_than_55_seconds(
    client: httpx.AsyncClient, doubles: Doubles, preference: str, applied: str | None
) -> None:
    headers = {"Idempotency-Key": "k"}
    await client.post(GPT4O, json=ORDER, headers=headers)
    doubles.generation.change("gen_1", **STORED)
    response = await client.post(GPT4O, json=ORDER, headers={**headers, "Prefer": preference})

    assert response.headers.get("preference-applied") == applied
    assert response.json()["status"] == ("completed" if applied else "pending")
    assert "url" not in response.json() or applied


async def test_an_order_whose_service_leaves_while_we_wait_is_still_told(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    asked = asyncio.create_task(client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=30"}))
    await eventually(lambda: doubles.generation.watchers)
    await doubles.stop("generation")
    response = await asked

    assert (response.status_code, response.json()) == (200, ACCEPTED)


async def test_when_too_many_wait_already_the_order_is_placed_all_the_same(
    connect_with: Connect, doubles: Doubles
) -> None:
    client = connect_with(max_watches=1)
    first = asyncio.create_task(client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=30"}))
    await eventually(lambda: doubles.generation.watchers)
    second = await client.post(GPT4O, json=ORDER, headers={"Prefer": "wait=30"})
    doubles.generation.change("gen_1", **STORED)

    assert (second.json()["taskId"], second.json()["status"]) == ("gen_2", "pending")
    assert "preference-applied" not in second.headers
    assert (await first).json()["status"] == "completed"
    await eventually(lambda: not doubles.generation.watchers)
