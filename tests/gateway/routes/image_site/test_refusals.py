"""Orders that the provider refuses."""

import httpx

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import REFUSED, failure

GPT4O = "/api/generate-image"


async def test_a_definite_refusal_is_an_error(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.generation.failure = REFUSED
    response = await client.post(GPT4O, json={"prompt": "a"})

    assert response.status_code == 422
    assert response.json() == failure("PROVIDER_REJECTED", "The provider refused this prompt. Change it.")
