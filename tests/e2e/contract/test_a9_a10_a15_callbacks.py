"""The provider's webhooks are hints, answered 200 in both shapes, failures included.

See docs/rest.md#callbacks.
"""

from typing import Any

import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

PATHS = ["/api/callback/image-generated", "/api/callback/flux-kontext", "/api/callback/nano-banana"]
TAKEN = {"success": True, "message": "回调处理成功"}
FORGED = "https://evil.example/forged.png"


def shapes(task: str) -> list[dict[str, Any]]:
    """What providers send: the documented shape, the seed's, and failures."""
    return [
        {"code": 200, "msg": "ok", "data": {"taskId": task, "info": {"result_urls": [FORGED]}}},
        {"code": 200, "msg": "ok", "data": {"taskId": task, "info": {"resultImageUrl": FORGED}}},
        {"code": 200, "data": {"taskId": task, "status": "SUCCESS", "response": {"resultUrls": [FORGED]}}},
        {"code": 400, "msg": "refused", "data": {"taskId": task}},
        {"code": 501, "msg": "failed", "data": {"taskId": task}},
    ]


@pytest.mark.parametrize("path", PATHS)
def test_every_shape_is_answered_200_also_twice_and_believed_by_nobody(
    stack: Stack, validated: Validated, path: str
) -> None:
    task = stack.order(f"a cat that is lied about at {path} sim:slow:2")
    theirs = str(until(lambda: stack.bills(f"a cat that is lied about at {path} sim:slow:2") or None)[0]["task_id"])
    for body in shapes(theirs) * 2:
        assert validated(stack.post(path, body)) == TAKEN

    assert FORGED not in stack.picture(task)


@pytest.mark.parametrize("path", PATHS)
def test_a_task_of_somebody_else_changes_nothing(stack: Stack, validated: Validated, path: str) -> None:
    for body in shapes("a-task-of-nobody"):
        assert validated(stack.post(path, body)) == TAKEN


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "INVALID_INPUT"),
        (b"x", 400, "INVALID_INPUT"),
        (b"[]", 400, "INVALID_INPUT"),
        (b'{"code": 200}', 400, "INVALID_INPUT"),
        (b'{"code": 200, "data": {"taskId": 7}}', 400, "INVALID_INPUT"),
        (b'{"code": 200, "data": null}', 400, "INVALID_INPUT"),
        (b" " * 70_000, 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_what_is_no_webhook_is_refused(
    stack: Stack, validated: Validated, path: str, body: bytes, status: int, code: str
) -> None:
    answer = stack.http.post(path, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, validated(answer)["code"]) == (status, code)


@pytest.mark.parametrize("path", PATHS)
def test_a_token_that_is_not_of_an_attempt_is_refused(stack: Stack, validated: Validated, path: str) -> None:
    answer = stack.post(f"{path}/att_nobody.0123456789", {"code": 200, "data": {"taskId": "t1"}})

    assert (answer.status_code, validated(answer)["code"]) == (403, "INVALID_TOKEN")
