"""Which pages may call us, as docs/rest.md#cors has it."""

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.middleware.cors import Cors
from tests.gateway.conftest import Connect

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
