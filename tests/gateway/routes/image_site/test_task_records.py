"""Asking how far a picture is, in the words of each family (docs/rest.md#states-outside)."""

import json
import re
from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, MILLISECONDS, TIME, failure

Generation = generationpb.Generation
GPT4O, FLUX = "/api/image-details", "/api/flux-kontext/image-details"
OURS, THEIRS = "https://site.test/files/generated/gen_1/0.png", "https://tempfile.aiquickdraw.com/x.png"
COPIED = Generation.Output(index=0, object="objects/generated/gen_1/0.png", uri=OURS, source_uri=THEIRS)
COPYING = Generation.Output(index=0, source_uri=THEIRS)
COPY_FAILED = Generation.Output(index=0, source_uri=THEIRS, error_message="It timed out.")
LOST = Generation.Output(index=0, source_uri=THEIRS, error_message="It is gone.")
RUNNING: dict[str, Any] = {
    "taskId": "gen_1",
    "status": "GENERATING",
    "successFlag": 0,
    "progress": 37,
    "response": None,
    "errorCode": None,
    "errorMessage": "",
    "createTime": MILLISECONDS,
    "completeTime": None,
    "paramJson": '{"model":"gpt4o-image","size":"3:2","outputFormat":""}',
}


def add(doubles: Doubles, state: int, **fields: Any) -> Generation:
    order = {"model": "gpt4o-image", "prompt": "a secret wish", "aspect_ratio": "3:2", "progress_percent": 37}
    return doubles.generation.add("gen_1", state=state, provider_task_id="kie-77", **order, **fields)


async def record(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get(GPT4O, params={"taskId": "gen_1"})
    body = response.json()
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert {**body, "data": {**body["data"], "data": None}} == {
        "success": True,
        "data": {"code": 200, "msg": "success", "data": None},
    }
    found: dict[str, Any] = body["data"]["data"]
    return found


@pytest.mark.parametrize("state", ["READY", "DIALING", "SENDING", "AMBIGUOUS", "RUNNING"])
async def test_a_picture_in_the_making_is_generating(client: httpx.AsyncClient, doubles: Doubles, state: str) -> None:
    add(doubles, Generation.State.Value(f"STATE_{state}"))

    assert await record(client) == RUNNING


async def test_a_stored_picture_is_a_success_under_our_url(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_SUCCEEDED, outputs=[COPIED], complete_time=TIME)

    assert await record(client) == {
        **RUNNING,
        "status": "SUCCESS",
        "successFlag": 1,
        "progress": 100,
        "response": {"resultUrls": [OURS], "result_urls": [OURS]},
        "completeTime": MILLISECONDS,
    }


async def test_a_picture_being_copied_is_not_shown_yet(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_STORING, outputs=[COPYING])

    assert await record(client) == RUNNING


async def test_once_copying_failed_the_providers_url_is_shown(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_STORING, outputs=[COPY_FAILED])
    found = await record(client)

    assert (found["status"], found["successFlag"], found["response"]["resultUrls"]) == ("SUCCESS", 1, [THEIRS])
    assert found["errorMessage"] == ""


async def test_several_pictures_are_shown_together(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_STORING, outputs=[COPIED, COPYING])
    assert (await record(client))["response"] is None

    doubles.generation.rows["gen_1"].outputs[1].error_message = "It timed out."
    assert (await record(client))["response"]["resultUrls"] == [OURS, THEIRS]


async def test_success_needs_a_url(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_SUCCEEDED)

    assert (await record(client))["successFlag"] == 0


async def test_a_failure_says_why(client: httpx.AsyncClient, doubles: Doubles) -> None:
    error = Generation.Error(reason="PROVIDER_FAILED", message="The provider could not draw it.", provider_code=501)
    add(doubles, Generation.STATE_FAILED, error=error, complete_time=TIME)

    assert await record(client) == {
        **RUNNING,
        "status": "GENERATE_FAILED",
        "successFlag": 3,
        "errorCode": "PROVIDER_FAILED",
        "errorMessage": "The provider could not draw it.",
        "completeTime": MILLISECONDS,
    }


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("FAILED", "GENERATION_FAILED", "could not be made"),
        ("CANCELED", "CANCELED", "cancelled"),
        ("EXPIRED", "EXPIRED", "nothing was billed"),
        ("UNKNOWN", "OUTCOME_UNKNOWN", "could not learn in time"),
        ("RESULT_LOST", "RESULT_LOST", "deleted it before"),
    ],
)
async def test_every_other_end_is_a_failure_with_its_own_code_and_an_honest_text(
    client: httpx.AsyncClient, doubles: Doubles, state: str, code: str, words: str
) -> None:
    add(doubles, Generation.State.Value(f"STATE_{state}"), outputs=[LOST])
    found = await record(client)

    assert (found["status"], found["successFlag"], found["response"]) == ("GENERATE_FAILED", 3, None)
    assert found["errorCode"] == code
    assert words in found["errorMessage"]


async def test_flux_details_are_nested_and_flat(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_SUCCEEDED, outputs=[COPIED])
    response = await client.get(FLUX, params={"taskId": "gen_1"})
    flat = {"status": "SUCCESS", "resultUrls": [OURS], "errorMessage": ""}

    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {"success": True, **flat, "data": {**flat, "raw": await record(client)}}


@pytest.mark.parametrize(("state", "word"), [("RUNNING", "GENERATING"), ("FAILED", "FAILED"), ("UNKNOWN", "FAILED")])
async def test_flux_has_its_own_words(client: httpx.AsyncClient, doubles: Doubles, state: str, word: str) -> None:
    add(doubles, Generation.State.Value(f"STATE_{state}"))
    body = (await client.get(FLUX, params={"taskId": "gen_1"})).json()

    assert (body["status"], body["data"]["status"], body["resultUrls"]) == (word, word, [])
    assert body["errorMessage"] == body["data"]["errorMessage"]


@pytest.mark.parametrize("path", [GPT4O, FLUX])
async def test_the_providers_id_finds_the_task_too(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    add(doubles, Generation.STATE_RUNNING)
    body = (await client.get(path, params={"taskId": "kie-77"})).json()

    assert (body["data"].get("data") or body["data"]["raw"])["taskId"] == "gen_1"


async def test_the_prompt_is_not_told_to_whoever_has_the_id(client: httpx.AsyncClient, doubles: Doubles) -> None:
    add(doubles, Generation.STATE_RUNNING, image_uris=["https://a.test/me.png"])
    text = (await client.get(GPT4O, params={"taskId": "gen_1"})).text

    assert "secret wish" not in text
    assert "me.png" not in text


@pytest.mark.parametrize("path", [GPT4O, FLUX])
async def test_an_unknown_task_is_404(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path, params={"taskId": "gen_none"})

    assert response.status_code == 404
    assert response.json() == failure("TASK_NOT_FOUND", "There is no generation with this id.")


@pytest.mark.parametrize("path", [GPT4O, FLUX, "/api/get-generated-url"])
@pytest.mark.parametrize(
    "query", [{}, {"taskId": ""}, {"taskId": "a/../b"}, {"taskId": "a&b=c"}, {"taskId": "x" * 129}]
)
async def test_a_task_id_is_needed_and_of_safe_characters(
    client: httpx.AsyncClient, path: str, query: dict[str, str]
) -> None:
    response = await client.get(path, params=query)

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "taskId is missing or not an id.")


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


DETAILS = "/api/nano-banana/image-details"
NANO_THEIRS = "https://tempfile.aiquickdraw.com/x.png"
WAITING: dict[str, Any] = {
    "taskId": "gen_1",
    "model": "google/nano-banana",
    "state": "waiting",
    "progress": 0,
    "resultUrls": [],
    "resultJson": "",
    "failCode": "",
    "failMsg": "",
    "param": '{"model":"google/nano-banana","size":"3:4","outputFormat":""}',
    "createTime": MILLISECONDS,
    "completeTime": None,
}


def add_nano(doubles: Doubles, state: str, **fields: Any) -> None:
    number = Generation.State.Value(f"STATE_{state}")
    doubles.generation.add(
        "gen_1", state=number, model="google/nano-banana", prompt="a wish", aspect_ratio="3:4", **fields
    )


async def details(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get(DETAILS, params={"taskId": "gen_1"})
    body: dict[str, Any] = response.json()
    record: dict[str, Any] = body["data"].pop("data")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert body == {"success": True, "data": {"code": 200, "msg": "success"}}
    return record


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("READY", "waiting"),
        ("DIALING", "queuing"),
        ("SENDING", "queuing"),
        ("AMBIGUOUS", "generating"),
        ("RUNNING", "generating"),
        ("STORING", "generating"),
    ],
)
async def test_a_picture_in_the_making_has_the_markets_words(
    client: httpx.AsyncClient, doubles: Doubles, state: str, word: str
) -> None:
    add_nano(doubles, state, outputs=[Generation.Output(source_uri=NANO_THEIRS)] if state == "STORING" else [])

    assert await details(client) == {**WAITING, "state": word}


async def test_a_stored_picture_of_nano_banana_is_a_success_under_our_url(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    ours = f"{FILES}/generated/gen_1/0.png"
    add_nano(doubles, "SUCCEEDED", outputs=[Generation.Output(uri=ours, source_uri=NANO_THEIRS)], complete_time=TIME)
    record = await details(client)

    assert json.loads(record.pop("resultJson")) == {"resultUrls": [ours]}
    assert record == {
        **{name: value for name, value in WAITING.items() if name != "resultJson"},
        "state": "success",
        "progress": 100,
        "resultUrls": [ours],
        "completeTime": MILLISECONDS,
    }


@pytest.mark.parametrize("state", ["FAILED", "UNKNOWN", "CANCELED", "EXPIRED", "RESULT_LOST"])
async def test_every_other_end_is_a_failure_with_its_reason(
    client: httpx.AsyncClient, doubles: Doubles, state: str
) -> None:
    error = Generation.Error(reason="PROVIDER_FAILED", message="The provider could not draw it.")
    add_nano(doubles, state, error=error, complete_time=TIME)

    assert await details(client) == {
        **WAITING,
        "state": "fail",
        "failCode": "PROVIDER_FAILED",
        "failMsg": "The provider could not draw it.",
        "completeTime": MILLISECONDS,
    }


async def test_a_state_that_only_a_newer_generation_knows_is_one_that_goes_on(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    add(doubles, 99)

    for path in (GPT4O, FLUX, "/api/nano-banana/image-details", "/api/task-status"):
        answer = await client.get(path, params={"taskId": "gen_1"})

        assert answer.status_code == 200
        assert not {"SUCCESS", "GENERATE_FAILED", "FAILED", "fail", "failed"} & set(re.findall(r"\w+", answer.text))
