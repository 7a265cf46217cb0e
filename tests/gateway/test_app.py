"""What holds for every path: JSON everywhere, nothing of our insides, and an outage stays where it is."""

from typing import Any, cast

import httpx
import pytest

from gateway.app import make_app
from gateway.clients.stubs import Clients
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Doubles
from tests.gateway.shapes import ORIGIN, failure

OURS = failure("INTERNAL_ERROR", "Something went wrong on our side. Try again; if it persists, tell the operator.")
AWAY = "A part of the service is not reachable at the moment. Try again shortly."
PICTURE = {"file": ("a.png", b"\x89PNG\r\n\x1a\nrest")}
ORDER = {"prompt": "a cat"}
DOWNLOAD = {"url": "https://elsewhere.test/a.png"}


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nowhere", "/api/share/", "/api/share/a/b", "/api/callback/other", "/nowhere"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_paths_are_404_json(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.json() == failure("NOT_FOUND", "There is nothing at this path. Check the address.")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/generate-image", "POST"),
        ("GET", "/api/flux-kontext/generate", "POST"),
        ("POST", "/api/image-details", "GET, HEAD"),
        ("PUT", "/api/upload-image", "POST"),
        ("GET", "/api/callback/image-generated/tok", "POST"),
        ("DELETE", "/api/share", "GET, HEAD, POST"),
        ("POST", "/api/share/share_1", "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/api/share/list", "GET, HEAD"),
        ("PUT", "/api/share/latest", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_json_that_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allow)
    assert response.json() == failure(
        "METHOD_NOT_ALLOWED", "This path does not take this method. The Allow header names those it takes."
    )


async def test_every_answer_tells_browsers_not_to_guess_or_frame(client: httpx.AsyncClient) -> None:
    for path in ("/api/share/latest", "/api/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        assert headers["x-frame-options"] == "SAMEORIGIN"


async def test_failures_are_neither_cached_nor_indexed(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/share/share_none")

    assert response.status_code == 404
    assert (response.headers["cache-control"], response.headers["x-robots-tag"]) == ("no-store", "noindex")


async def test_a_crash_in_a_service_shows_nothing_of_its_insides(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.share.crash = True
    response = await client.get("/api/share/share_1")

    assert response.status_code == 500
    assert response.json() == OURS


async def test_a_bug_of_ours_is_500_json_that_other_origins_can_read() -> None:
    without_clients = make_app(GatewaySettings(), cast("Clients", None))
    transport = httpx.ASGITransport(without_clients, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        response = await client.get("/api/share/latest", headers={"Origin": "https://a.example"})

    assert response.status_code == 500
    assert response.json() == OURS
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("stopped", "path", "given"),
    [
        ("storage", "/api/upload-image", {"files": PICTURE}),
        ("storage", "/api/download-and-upload", {"json": DOWNLOAD}),
        ("storage", "/api/get-generated-url?taskId=gen_1", {}),
        ("generation", "/api/generate-image", {"json": ORDER}),
        ("generation", "/api/flux-kontext/generate", {"json": ORDER}),
        ("generation", "/api/image-details?taskId=gen_1", {}),
        ("generation", "/api/flux-kontext/image-details?taskId=gen_1", {}),
        ("generation", "/api/download-url", {"json": DOWNLOAD}),
        ("generation", "/api/callback/image-generated", {"content": b"{}"}),
        ("share", "/api/share", {"json": {"generatedUrl": "https://a.test/x.png"}}),
        ("share", "/api/share/share_1", {}),
        ("share", "/api/share/list", {}),
        ("share", "/api/share/latest", {}),
    ],
)
async def test_a_stopped_service_is_503_on_its_routes(
    client: httpx.AsyncClient, doubles: Doubles, stopped: str, path: str, given: dict[str, Any]
) -> None:
    doubles.generation.add("gen_1")
    await doubles.stop(stopped)
    response = await client.request("POST" if given else "GET", path, **given)

    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == failure("UNAVAILABLE", AWAY)


@pytest.mark.parametrize("stopped", ["generation", "storage", "share"])
async def test_the_routes_of_the_other_services_go_on(
    client: httpx.AsyncClient, doubles: Doubles, stopped: str
) -> None:
    doubles.generation.add("gen_1")
    await doubles.stop(stopped)
    routes = {
        "generation": await client.get("/api/image-details?taskId=gen_1"),
        "storage": await client.post("/api/upload-image", files=PICTURE),
        "share": await client.get("/api/share/latest"),
    }

    assert {name: answer.status_code for name, answer in routes.items()} == dict.fromkeys(routes, 200) | {stopped: 503}
