"""Diagnostics (docs/rest.md#diagnostics): what operators and their monitors are told, in yes and no."""

import re
from typing import Any

import httpx
import pytest

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a18_check_r2_config(stack: Stack, validated: Validated) -> None:
    answer = validated(stack.http.get("/api/check-r2-config"))

    assert ISO.fullmatch(answer["r2Config"].pop("timestamp"))
    assert answer == {
        "success": True,
        "r2Config": {"uploadBucketConfigured": True, "afterimageBucketConfigured": True},
        "message": "Storage is configured and serving.",
    }


def test_a18_debug_env_is_off_by_default(stack: Stack, validated: Validated) -> None:
    answer = stack.http.get("/api/debug-env")

    assert (answer.status_code, validated(answer)["code"]) == (404, "NOT_FOUND")


def test_a18_debug_env_says_yes_or_no_and_no_value(guarded: Stack, validated: Validated) -> None:
    answer = guarded.http.get("/api/debug-env")
    debug = validated(answer)["debug"]

    assert [name for name, value in flattened(debug) if not isinstance(value, bool)] == ["timestamp", "envKeys"]
    assert "CORS_ALLOWED_ORIGINS" in debug["envKeys"]
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in debug["envKeys"])
    assert not [word for word in ("sandbox-key", "our.site", str(guarded.data)) if word in answer.text]


def flattened(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and values, those of nested objects too."""
    inner = [pair for value in values.values() if isinstance(value, dict) for pair in flattened(value)]
    return [(name, value) for name, value in values.items() if not isinstance(value, dict)] + inner


def test_a19_health(stack: Stack, validated: Validated) -> None:
    answer = validated(stack.http.get("/api/health"))

    assert answer.pop("time") > 1_700_000_000_000
    assert answer == {
        "success": True,
        "ok": True,
        "kieApi": True,
        "r2Storage": True,
        "shareSystem": True,
        "keyUsable": True,
        "env": "development",
    }


def test_a19_test_env(stack: Stack, validated: Validated) -> None:
    answer = validated(stack.http.get("/api/test-env"))

    assert set(answer["env"]) == {"kieApiKey", "appUrl", "storagePublicBaseUrl", "database", "redis"}
    assert answer["env"]["kieApiKey"] is True
    assert answer["services"] == {"generation": True, "storage": True, "share": True}


def test_a19_poll_task_tells_how_it_ended(stack: Stack, done: tuple[str, str]) -> None:
    answer = stack.http.get("/api/poll-task", params={"taskId": done[0]})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert '"type":"generation.succeeded"' in answer.text
    assert done[1] in answer.text


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({}, 400, "INVALID_INPUT"), ({"taskId": "gen_nobody"}, 404, "TASK_NOT_FOUND")],
)
def test_a19_a_stream_of_no_task_is_json(
    stack: Stack, validated: Validated, query: dict[str, str], status: int, code: str
) -> None:
    answer = stack.http.get("/api/poll-task", params=query)

    assert (answer.status_code, validated(answer)["code"]) == (status, code)


def test_the_description_is_served(stack: Stack) -> None:
    answer = stack.http.get("/api/openapi.json")

    assert (answer.status_code, answer.json()["openapi"]) == (httpx.codes.OK, "3.1.0")
