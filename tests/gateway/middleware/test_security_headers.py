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


@pytest.mark.parametrize("path", ["/api/share/latest", "/api/share/list", "/api/nowhere", "/healthz"])
async def test_json_runs_nothing_and_is_shown_in_no_frame(client: httpx.AsyncClient, path: str) -> None:
    for _ in range(2):  # the second one may come from the response cache
        answer = await client.get(path)
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_an_answer_without_a_body_leaves_the_policy_of_what_a_browser_keeps(client: httpx.AsyncClient) -> None:
    """A browser writes the headers of a 304 over those of the page that it kept."""
    page = await client.get("/assets/kawaii.css")
    unchanged = await client.get("/assets/kawaii.css", headers={"If-None-Match": page.headers["etag"]})

    assert unchanged.status_code == httpx.codes.NOT_MODIFIED
    assert "content-security-policy" not in unchanged.headers


@pytest.mark.parametrize(("origin", "told"), [("https://a.test", "max-age=31536000"), ("http://localhost:8080", None)])
async def test_a_site_by_https_says_that_it_is_only_there(connect_with: Connect, origin: str, told: str | None) -> None:
    assert (await connect_with(app_url=origin).get("/api/share/latest")).headers.get(HTTPS_ONLY) == told
