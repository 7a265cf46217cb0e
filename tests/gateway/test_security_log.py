"""One line tells who was refused what, from where; nothing of what they sent."""

import httpx
import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from gateway.rest import errors
from services.chassis.errors import InvalidArgument, PermissionDenied
from tests.gateway.auth.issuer import AUDIENCE, SECRET
from tests.gateway.auth.test_tokens import shared
from tests.gateway.conftest import Connect, Doubles

CANARY = "canary-0123456789"


def refusals(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return [line for line in lines if line["event"] == "request_refused"]


async def test_a_bad_token_is_told_once_and_without_the_token(connect_with: Connect) -> None:
    client = connect_with(auth_hs256_secret=SECRET, auth_audience=AUDIENCE)
    headers = {"Authorization": f"Bearer {CANARY}", "x-kawaii-client": "192.0.2.7"}
    with capture_logs() as lines:
        await client.post(f"/api/artworks/{CANARY}/like?{CANARY}", json={"x": CANARY}, headers=headers)

    assert refusals(lines) == [
        {
            "event": "request_refused",
            "log_level": "warning",
            "reason": "INVALID_TOKEN",
            "status": 401,
            "who": "",
            "client": "192.0.2.7",
            "method": "POST",
            "route": "/api/artworks/{id}/like",
        }
    ]
    assert CANARY not in str(lines)


async def test_a_person_who_may_not_is_named() -> None:
    scope = {"type": "http", "method": "DELETE", "path": "/", "headers": [], "client": ("192.0.2.7", 1)}
    request = Request(scope | {"state": {"person_id": "mei"}})
    with capture_logs() as lines:
        await errors._from_us(request, PermissionDenied("This artwork belongs to somebody else."))

    assert [(line["who"], line["client"], line["reason"]) for line in lines] == [("mei", "192.0.2.7", "FORBIDDEN")]


async def test_a_foreign_page_with_a_cookie_is_told(connect_with: Connect) -> None:
    client = connect_with(auth_hs256_secret=SECRET, auth_audience=AUDIENCE)
    with capture_logs() as lines:
        signed = {"Cookie": f"__session={shared(sub='mei')}", "Origin": "https://evil.example"}
        await client.post("/api/artworks/a/like", headers=signed)

    assert [(line["reason"], line["status"]) for line in refusals(lines)] == [("FORBIDDEN", 403)]


@pytest.mark.parametrize(
    "failure", [PermissionDenied("No.", "INVALID_TOKEN"), InvalidArgument("Not there.", "URL_NOT_ALLOWED")]
)
async def test_what_a_service_refuses_is_told(client: httpx.AsyncClient, doubles: Doubles, failure: Exception) -> None:
    doubles.generation.failure = failure
    with capture_logs() as lines:
        await client.post("/api/generate-image", json={"prompt": CANARY})

    assert [line["reason"] for line in refusals(lines)] == [getattr(failure, "reason", "")]
    assert CANARY not in str(lines)


async def test_what_is_merely_wrong_is_no_matter_of_security(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.post("/api/generate-image", json={"prompt": ""})
        await client.get("/api/share/nothing")

    assert refusals(lines) == []
