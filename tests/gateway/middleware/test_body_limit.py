"""Bodies that are too large: refused early, in JSON, with nothing changed."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import failure

MIB = 1024 * 1024
ENCODED = -(-10 * MIB // 3) * 4  # ten megabytes as base64
LIMITS = {
    "/api/share": MIB,
    "/api/generate-image": MIB + ENCODED,
    "/api/nano-banana/generate": MIB + ENCODED,
    "/api/callback/image-generated": 64 * 1024,
    "/api/callback/image-generated/tok": 64 * 1024,
    "/api/upload-image": 10 * MIB + 64 * 1024,
}


class Counted:
    """A body without a declared length, that counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += 1024
            yield b" " * 1024


@pytest.mark.parametrize("path", LIMITS)
async def test_a_declared_length_above_the_limit_is_refused_before_reading(
    client: httpx.AsyncClient, path: str
) -> None:
    body = Counted()
    headers = {"Content-Length": str(LIMITS[path] + 1), "Content-Type": "application/json"}
    response = await client.post(path, content=body, headers=headers)

    assert response.status_code == 413
    assert response.json() == failure(
        "PAYLOAD_TOO_LARGE", f"The request is too large: at most {LIMITS[path]} bytes are taken here."
    )
    assert body.taken == 0


@pytest.mark.parametrize("path", ["/api/share", "/api/callback/image-generated"])
async def test_an_endless_body_is_refused_at_the_limit(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    body = Counted()
    response = await client.post(path, content=body)

    assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert body.taken == LIMITS[path] + 1024
    assert not doubles.generation.callbacks


async def test_a_body_of_exactly_the_limit_is_taken(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post("/api/callback/image-generated", content=b"x" * 64 * 1024)

    assert response.status_code == 200
    assert len(doubles.generation.callbacks[0].body) == 64 * 1024
