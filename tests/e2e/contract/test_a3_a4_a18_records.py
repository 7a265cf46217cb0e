"""The records that front ends poll, whole, while running, when done and when failed.

See docs/rest.md#4o-details.
"""

from typing import Any

import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

PARAMETERS = '{"model":"gpt4o-image","size":"1:1","outputFormat":""}'
GPT4O, FLUX, NANO = "/api/image-details", "/api/flux-kontext/image-details", "/api/nano-banana/image-details"
STATUS = "/api/task-status"
TIMES = ("createTime", "completeTime")


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its times."""
    return {name: value for name, value in record.items() if name not in TIMES}


@pytest.fixture(scope="module")
def running(stack: Stack) -> str:
    """An order that takes as long as the tests."""
    return stack.order("a slow contract cat sim:slow:30")


def read(stack: Stack, validated: Validated, path: str, task: str) -> dict[str, Any]:
    answer: dict[str, Any] = validated(stack.http.get(path, params={"taskId": task}))
    return answer


def test_a3_a_running_record(stack: Stack, validated: Validated, running: str) -> None:
    answer = read(stack, validated, GPT4O, running)
    record = answer["data"].pop("data")

    assert answer == {"success": True, "data": {"code": 200, "msg": "success"}}
    assert type(record.pop("progress")) is int
    assert timeless(record) == {
        "taskId": running,
        "status": "GENERATING",
        "successFlag": 0,
        "response": None,
        "errorCode": None,
        "errorMessage": "",
        "paramJson": PARAMETERS,
    }
    assert record["createTime"] > 1_700_000_000_000
    assert record["completeTime"] is None


def test_a3_a_finished_record(stack: Stack, validated: Validated, done: tuple[str, str]) -> None:
    task, url = done
    record = read(stack, validated, GPT4O, task)["data"]["data"]

    assert timeless(record) == {
        "taskId": task,
        "status": "SUCCESS",
        "successFlag": 1,
        "progress": 100,
        "response": {"resultUrls": [url], "result_urls": [url]},
        "errorCode": None,
        "errorMessage": "",
        "paramJson": PARAMETERS,
    }
    assert record["completeTime"] >= record["createTime"]


def test_a3_a_failed_record_says_so_in_every_way_the_front_end_looks(
    stack: Stack, validated: Validated, failed: str
) -> None:
    record = read(stack, validated, GPT4O, failed)["data"]["data"]

    assert (record["status"], record["successFlag"], record["response"]) == ("GENERATE_FAILED", 3, None)
    assert record["errorMessage"]
    assert record["errorCode"]


@pytest.mark.parametrize("path", [GPT4O, FLUX, NANO, STATUS])
def test_the_id_is_ours_or_the_provider_s(stack: Stack, validated: Validated, done: tuple[str, str], path: str) -> None:
    theirs = stack.bills("a finished picture for the contract")[0]["task_id"]

    assert read(stack, validated, path, theirs) == read(stack, validated, path, done[0])


@pytest.mark.parametrize("path", [GPT4O, FLUX, NANO, STATUS])
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "INVALID_INPUT"),
        ({"taskId": ""}, 400, "INVALID_INPUT"),
        ({"taskId": "a/b"}, 400, "INVALID_INPUT"),
        ({"taskId": "a?b=c&d"}, 400, "INVALID_INPUT"),
        ({"taskId": "gen_nobody"}, 404, "TASK_NOT_FOUND"),
    ],
)
def test_a_missing_or_unknown_task_is_no_eternal_generating(
    stack: Stack, validated: Validated, path: str, query: dict[str, str], status: int, code: str
) -> None:
    answer = stack.http.get(path, params=query)

    assert (answer.status_code, validated(answer)["code"]) == (status, code)


def test_a4_flux_details_are_nested_and_flat(
    stack: Stack, validated: Validated, done: tuple[str, str], running: str
) -> None:
    task, url = done
    finished, pending = read(stack, validated, FLUX, task), read(stack, validated, FLUX, running)
    raw = read(stack, validated, GPT4O, task)["data"]["data"]
    flat = {"status": "SUCCESS", "resultUrls": [url], "errorMessage": ""}

    assert finished == {"success": True, **flat, "data": {**flat, "raw": raw}}
    del pending["data"]["raw"]
    flat = {"status": "GENERATING", "resultUrls": [], "errorMessage": ""}
    assert pending == {"success": True, **flat, "data": flat}


def test_a4_a_failed_flux_task(stack: Stack, validated: Validated, failed: str) -> None:
    answer = read(stack, validated, FLUX, failed)

    assert (answer["status"], answer["data"]["status"], answer["resultUrls"]) == ("FAILED", "FAILED", [])
    assert answer["errorMessage"] == answer["data"]["errorMessage"] != ""


def test_a15_nano_details(stack: Stack, validated: Validated, done: tuple[str, str], running: str, failed: str) -> None:
    finished = read(stack, validated, NANO, done[0])["data"]["data"]
    pending = until(lambda: later(read(stack, validated, NANO, running)["data"]["data"]))
    broken = read(stack, validated, NANO, failed)["data"]["data"]

    assert timeless(finished) == {
        "taskId": done[0],
        "model": "gpt4o-image",
        "state": "success",
        "progress": 100,
        "resultUrls": [done[1]],
        "resultJson": f'{{"resultUrls":["{done[1]}"]}}',
        "failCode": "",
        "failMsg": "",
        "param": PARAMETERS,
    }
    assert (pending["resultUrls"], pending["resultJson"], pending["failMsg"]) == ([], "", "")
    assert (broken["state"], broken["resultUrls"]) == ("fail", [])
    assert broken["failMsg"]


def later(record: dict[str, Any]) -> dict[str, Any] | None:
    """The record once the provider has taken the order."""
    return record if record["state"] == "generating" else None


def test_a18_task_status_tells_the_truth(
    stack: Stack, validated: Validated, done: tuple[str, str], running: str, failed: str
) -> None:
    result = {"imageUrl": done[1]}

    assert read(stack, validated, STATUS, done[0]) == {
        "success": True,
        "taskId": done[0],
        "status": "completed",
        "message": "The picture is done.",
        "result": result,
    }
    assert read(stack, validated, STATUS, running) == {
        "success": True,
        "taskId": running,
        "status": "pending",
        "message": "The picture is being made.",
    }
    broken = read(stack, validated, STATUS, failed)
    assert (broken["status"], "result" in broken) == ("failed", False)
    assert broken["message"]
