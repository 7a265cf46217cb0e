"""What is on every answer, whoever makes it: CORS, security headers, a request id, and JSON.

See docs/rest.md#every-answer.
"""

import httpx
import pytest

from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

CORS = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "Content-Type, Authorization, Idempotency-Key, Prefer, X-Request-Id, X-Share-Token",
    "access-control-max-age": "86400",
}
SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-frame-options": "SAMEORIGIN",
}
ORIGIN = "https://elsewhere.example"


@pytest.mark.parametrize("path", ["/api/generate-image", "/api/share/share_1", "/api/nowhere", "/", "/a/b/c"])
def test_options_is_200_and_empty_on_any_path(stack: Stack, path: str) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = stack.http.options(path, headers=headers)
    bare = stack.http.options(path)

    assert (answer.status_code, answer.content) == (200, b"")
    assert {name: answer.headers.get(name) for name in CORS} == CORS
    assert answer.headers["access-control-allow-origin"] == "*"
    assert bare.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/share/latest", 200),
        ("GET", "/api/share/list", 200),
        ("GET", "/api/health", 200),
        ("GET", "/api/image-details", 400),
        ("GET", "/api/share/share_nobody", 404),
        ("GET", "/api/nowhere", 404),
        ("GET", "/api/generate-image", 405),
        ("POST", "/api/generate-image", 400),
        ("GET", "/api/share%2Flist", 400),  # Envoy's own answer
    ],
)
def test_every_answer_is_json_that_any_page_may_read(stack: Stack, method: str, path: str, status: int) -> None:
    answer = stack.http.request(method, path, headers={"Origin": ORIGIN})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert isinstance(answer.json(), dict)


def test_a_wrong_method_says_which_are_right(stack: Stack) -> None:
    answer = stack.http.get("/api/generate-image")
    sentence = "This path does not take this method. The Allow header names those it takes."

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {
        "success": False,
        "error": sentence,
        "code": "METHOD_NOT_ALLOWED",
        "message": sentence,
    }


def test_a_request_id_comes_back_on_success_and_failure(stack: Stack) -> None:
    for path in ("/api/share/latest", "/api/nowhere"):
        answer = stack.http.get(path, headers={"X-Request-Id": "from-the-client"})
        assert answer.headers["x-request-id"] == "from-the-client"


def test_task_polls_are_never_cached(stack: Stack, done: tuple[str, str]) -> None:
    for path in ("image-details", "flux-kontext/image-details", "nano-banana/image-details", "task-status"):
        answer = stack.http.get(f"/api/{path}", params={"taskId": done[0]})
        assert (answer.status_code, answer.headers["cache-control"]) == (httpx.codes.OK, "no-store")
