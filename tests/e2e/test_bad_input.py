"""Bad input at the real edge: a 4xx with a code and a sentence, and nothing changed."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import Stack
from tests.support.polling import until

pytestmark = pytest.mark.e2e

JSON = {"content-type": "application/json"}
CASES = [
    ("missing prompt", "POST", "/api/generate-image", b"{}", JSON, 400, "INVALID_INPUT"),
    ("blank prompt", "POST", "/api/generate-image", b'{"prompt": "  "}', JSON, 400, "INVALID_INPUT"),
    ("wrong type", "POST", "/api/generate-image", b'{"prompt": 7}', JSON, 400, "INVALID_INPUT"),
    ("malformed JSON", "POST", "/api/generate-image", b'{"prompt"', JSON, 400, "INVALID_INPUT"),
    ("not an object", "POST", "/api/share", b"[1]", JSON, 400, "INVALID_INPUT"),
    ("script as picture", "POST", "/api/share", b'{"generatedUrl": "javascript:alert(1)"}', JSON, 400, "INVALID_INPUT"),
    (
        "unknown model",
        "POST",
        "/api/flux-kontext/generate",
        b'{"prompt": "x", "model": "y"}',
        JSON,
        400,
        "INVALID_INPUT",
    ),
    ("unknown task", "GET", "/api/image-details?taskId=gen_nobody", b"", {}, 404, "TASK_NOT_FOUND"),
    ("no task", "GET", "/api/image-details", b"", {}, 400, "INVALID_INPUT"),
    ("unknown share", "GET", "/api/share/share_nobody", b"", {}, 404, "NOT_FOUND"),
    ("wrong method", "GET", "/api/generate-image", b"", {}, 405, "METHOD_NOT_ALLOWED"),
    ("unknown path", "GET", "/api/nothing/here", b"", {}, 404, "NOT_FOUND"),
    ("oversized body", "POST", "/api/share", b"x" * 2_000_000, JSON, 413, "PAYLOAD_TOO_LARGE"),
    ("not a form", "POST", "/api/upload-image", b"x", JSON, 400, "INVALID_INPUT"),
    (
        "private address",
        "POST",
        "/api/download-and-upload",
        b'{"url": "http://169.254.169.254/"}',
        JSON,
        400,
        "URL_NOT_ALLOWED",
    ),
    ("no JSON webhook", "POST", "/api/callback/image-generated", b"x", JSON, 400, "INVALID_INPUT"),
    (
        "foreign token",
        "POST",
        "/api/callback/image-generated/att_x.y",
        b'{"code": 200, "data": {"taskId": "t1"}}',
        JSON,
        403,
        "INVALID_TOKEN",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_bad_input_is_told_apart_and_explained(
    stack: Stack, method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = stack.http.request(method, path, content=body, headers=headers)

    assert answer.status_code == status, answer.text
    refusal = answer.json()
    assert refusal["success"] is False
    assert refusal["code"] == code
    assert refusal["error"] == refusal["message"] != ""


def kept_files(stack: Stack) -> list[Path]:
    """Every file of the objects' folder."""
    return sorted(path for path in (stack.data / "objects").rglob("*") if path.is_file())


def test_a_file_that_is_no_picture_is_refused_and_leaves_nothing(stack: Stack) -> None:
    before = kept_files(stack)
    answer = stack.http.post("/api/upload-image", files={"file": ("x.png", b"<html>", "image/png")})

    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert answer.json()["code"] == "INVALID_IMAGE"
    assert kept_files(stack) == before


def test_a_dead_service_is_told_on_its_own_routes_only(stack: Stack) -> None:
    """At once where something is to be changed; a read waits for a moment, in which the service is back."""
    victim = stack.process("services.share")
    victim.kill()
    victim.wait(10)
    answer = stack.http.post("/api/share", json={"generatedUrl": "https://files.example/a.png", "prompt": "a cat"})

    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.json()["code"] == "UNAVAILABLE"
    assert "retry-after" in answer.headers
    assert stack.http.get("/api/image-details?taskId=gen_nobody").json()["code"] == "TASK_NOT_FOUND"
    until(lambda: stack.http.get("/api/share/share_nobody").status_code == httpx.codes.NOT_FOUND or None)
