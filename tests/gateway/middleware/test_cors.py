"""Which pages may call us, as contract.md A0 and reliability.md V7 have it."""

import httpx
import pytest

from tests.gateway.conftest import Connect

LIST = "https://our.site,http://localhost:3000"
COMMON = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "Content-Type, Authorization, Idempotency-Key, Prefer, X-Request-Id, X-Share-Token",
    "access-control-max-age": "86400",
    "vary": "Origin",
}


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith(("access-control-", "vary"))}


@pytest.mark.parametrize("path", ["/api/share", "/api/nowhere", "/", "/a/b/c"])
async def test_options_is_200_and_empty_on_any_path(client: httpx.AsyncClient, path: str) -> None:
    response = await client.options(path, headers={"Origin": "https://a.example"})

    assert (response.status_code, response.content) == (200, b"")
    assert cors(response) == {**COMMON, "access-control-allow-origin": "https://a.example"}


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.example", "https://a.example"), ("null", "null"), ("", "*")]
)
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
    assert cors(response)["access-control-allow-origin"] == "https://a.example"
