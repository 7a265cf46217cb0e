"""Asking how far a Nano Banana picture is, in the Market's words (docs/rest.md#nano-banana)."""

import json
from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import FILES, MILLISECONDS, TIME

Generation = generationpb.Generation
DETAILS = "/api/nano-banana/image-details"
THEIRS = "https://tempfile.aiquickdraw.com/x.png"
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


def add(doubles: Doubles, state: str, **fields: Any) -> None:
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
    add(doubles, state, outputs=[Generation.Output(source_uri=THEIRS)] if state == "STORING" else [])

    assert await details(client) == {**WAITING, "state": word}


async def test_a_stored_picture_is_a_success_under_our_url(client: httpx.AsyncClient, doubles: Doubles) -> None:
    ours = f"{FILES}/generated/gen_1/0.png"
    add(doubles, "SUCCEEDED", outputs=[Generation.Output(uri=ours, source_uri=THEIRS)], complete_time=TIME)
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
    add(doubles, state, error=error, complete_time=TIME)

    assert await details(client) == {
        **WAITING,
        "state": "fail",
        "failCode": "PROVIDER_FAILED",
        "failMsg": "The provider could not draw it.",
        "completeTime": MILLISECONDS,
    }
