"""What machines that watch over us are told."""

import httpx

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import failure


async def test_healthz_answers_whatever_the_services_do(client: httpx.AsyncClient, doubles: Doubles) -> None:
    for service in doubles.servers:
        await doubles.stop(service)
    response = await client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"success": True, "status": "ok"})


async def test_readyz_is_200_once_every_service_serves(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "status": "ready",
        "services": {"generation": True, "storage": True, "share": True, "community": True},
    }


async def test_readyz_names_who_does_not_serve(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.stop("storage")
    response = await client.get("/readyz")

    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json() == {
        **failure("UNAVAILABLE", "Not serving yet: storage."),
        "services": {"generation": True, "storage": False, "share": True, "community": True},
    }
