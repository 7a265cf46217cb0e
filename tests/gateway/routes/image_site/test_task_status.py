"""One word on how an order goes (docs/rest.md#task-status), and what all routes ask of a taskId."""

from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, failure

Generation = generationpb.Generation
STATUS = "/api/task-status"
ROUTES = [STATUS, "/api/nano-banana/image-details", "/api/poll-task"]


async def status(client: httpx.AsyncClient, identifier: str = "gen_1") -> dict[str, Any]:
    response = await client.get(STATUS, params={"taskId": identifier})
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("state", ["READY", "DIALING", "SENDING", "AMBIGUOUS", "RUNNING", "STORING"])
async def test_an_order_under_way_is_pending(client: httpx.AsyncClient, doubles: Doubles, state: str) -> None:
    doubles.generation.add("gen_1", state=Generation.State.Value(f"STATE_{state}"), prompt="a cat")

    assert await status(client) == {
        "success": True,
        "taskId": "gen_1",
        "status": "pending",
        "message": "The picture is being made.",
    }


async def test_a_finished_order_shows_its_picture_by_either_id(client: httpx.AsyncClient, doubles: Doubles) -> None:
    output = Generation.Output(uri=f"{FILES}/a.png")
    fields: dict[str, Any] = {"prompt": "a cat", "outputs": [output], "provider_task_id": "kie-77"}
    doubles.generation.add("gen_1", state=Generation.STATE_SUCCEEDED, **fields)

    assert await status(client) == {
        "success": True,
        "taskId": "gen_1",
        "status": "completed",
        "message": "The picture is done.",
        "result": {"imageUrl": f"{FILES}/a.png"},
    }
    assert await status(client, "kie-77") == await status(client)


async def test_a_failed_order_says_why(client: httpx.AsyncClient, doubles: Doubles) -> None:
    error = Generation.Error(reason="PROVIDER_FAILED", message="The provider could not draw it.")
    doubles.generation.add("gen_1", state=Generation.STATE_FAILED, error=error)

    assert await status(client) == {
        "success": True,
        "taskId": "gen_1",
        "status": "failed",
        "message": "The provider could not draw it.",
    }


@pytest.mark.parametrize("path", ROUTES)
async def test_an_unknown_task_is_404_json(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path, params={"taskId": "gen_none"})

    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    assert response.json() == failure("TASK_NOT_FOUND", "There is no generation with this id.")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "query", ["", "taskId=", "taskId=a%2F..%2Fb", "taskId=a%26b%3Dc", "taskId=a%3Fb", "taskId=a%00", "taskId=..%2F"]
)
async def test_a_task_id_of_other_characters_is_refused_and_goes_nowhere(
    client: httpx.AsyncClient, doubles: Doubles, path: str, query: str
) -> None:
    for service in doubles.servers:
        await doubles.stop(service)
    response = await client.get(f"{path}?{query}")

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "taskId is missing or not an id.")


@pytest.mark.parametrize("path", ROUTES)
async def test_without_its_service_it_is_503_json(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    await doubles.stop("generation")
    response = await client.get(path, params={"taskId": "gen_1"})

    assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
