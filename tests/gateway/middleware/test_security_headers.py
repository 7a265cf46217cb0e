"""What every answer tells browsers, failures and preflights too."""

import httpx
import pytest

from tests.gateway.conftest import Connect

HTTPS_ONLY = "strict-transport-security"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-frame-options": "SAMEORIGIN",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/share/latest"), ("GET", "/api/nowhere"), ("PATCH", "/api/share"), ("OPTIONS", "/api/share")],
)
async def test_every_answer_forbids_guessing_leaking_and_framing(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    headers = (await client.request(method, path)).headers

    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS


@pytest.mark.parametrize(("origin", "told"), [("https://a.test", "max-age=31536000"), ("http://localhost:8080", None)])
async def test_a_site_by_https_says_that_it_is_only_there(connect_with: Connect, origin: str, told: str | None) -> None:
    assert (await connect_with(app_url=origin).get("/api/share/latest")).headers.get(HTTPS_ONLY) == told
