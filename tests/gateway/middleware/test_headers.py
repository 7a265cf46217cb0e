"""What every answer tells browsers, failures and preflights too, and which pages may call us (docs/rest.md#cors)."""

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.middleware.headers import Cors
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


@pytest.mark.parametrize(
    ("origin", "expected"), [("https://a.test", "max-age=31536000"), ("http://localhost:8080", None)]
)
async def test_a_site_by_https_says_that_it_is_only_there(
    connect_with: Connect, origin: str, expected: str | None
) -> None:
    assert (await connect_with(app_url=origin).get("/api/share/latest")).headers.get(HTTPS_ONLY) == expected


LIST = "https://our.site,http://localhost:3000"
COMMON = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "Content-Type, Authorization, Idempotency-Key, Prefer, X-Request-Id, X-Share-Token",
    "access-control-expose-headers": (
        "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, "
        "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
        "Idempotent-Replayed, Preference-Applied, Location, ETag"
    ),
    "access-control-max-age": "86400",
    "vary": "Origin",
}


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith(("access-control-", "vary"))}


@pytest.mark.parametrize("path", ["/api/share", "/api/nowhere", "/", "/a/b/c"])
async def test_options_is_200_and_empty_on_any_path(client: httpx.AsyncClient, path: str) -> None:
    response = await client.options(path, headers={"Origin": "https://a.example"})

    assert (response.status_code, response.content) == (200, b"")
    assert cors(response) == {**COMMON, "access-control-allow-origin": "*"}


@pytest.mark.parametrize(("origin", "allowed"), [("https://a.example", "*"), ("null", "*"), ("", "*")])
async def test_by_default_every_origin_may_read_without_credentials(
    client: httpx.AsyncClient, origin: str, allowed: str
) -> None:
    response = await client.get("/api/share/latest", headers={"Origin": origin} if origin else {})

    assert response.status_code == 200
    assert cors(response) == {**COMMON, "access-control-allow-origin": allowed}


@pytest.mark.parametrize("origin", ["https://our.site", "http://localhost:3000"])
async def test_a_listed_origin_is_echoed_with_credentials(connect_with: Connect, origin: str) -> None:
    response = await connect_with(cors_allowed_origins=LIST).get("/api/share/latest", headers={"Origin": origin})

    assert cors(response) == {
        **COMMON,
        "access-control-allow-origin": origin,
        "access-control-allow-credentials": "true",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "https://our.site.evil",
        "http://our.site",
        "https://our.site:444",
        "https://OUR.site",
        "null",
        "http://localhost",
        "",
    ],
)
async def test_an_unlisted_origin_is_not_allowed(connect_with: Connect, origin: str) -> None:
    client = connect_with(cors_allowed_origins=LIST)

    for response in (
        await client.get("/api/share/latest", headers={"Origin": origin} if origin else {}),
        await client.options("/api/share", headers={"Origin": origin} if origin else {}),
    ):
        assert response.status_code == 200
        assert cors(response) == COMMON


async def test_failures_can_be_read_by_other_origins_too(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/share", content=b"{", headers={"Origin": "https://a.example"})

    assert response.status_code == 400
    assert cors(response)["access-control-allow-origin"] == "*"


async def test_what_an_answer_varies_by_already_stays() -> None:
    async def in_two_languages(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("hello", headers={"Vary": "Accept-Language"})(scope, receive, send)

    transport = httpx.ASGITransport(Cors(in_two_languages, ["https://our.site"]))
    async with httpx.AsyncClient(transport=transport, base_url="https://our.site") as client:
        response = await client.get("/", headers={"Origin": "https://our.site"})

    assert response.headers["vary"] == "Accept-Language, Origin"
