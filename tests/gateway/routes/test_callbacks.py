"""Webhooks reach the generation service as they came."""

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import failure

BODY = b'\xff\x00 {"code" : 200}\r\n'
ACCEPTED = {"success": True, "message": "回调处理成功"}


@pytest.mark.parametrize("kind", ["image-generated", "flux-kontext", "nano-banana"])
@pytest.mark.parametrize("token", ["", "tok_1"])
async def test_bytes_kind_and_token_arrive_untouched(
    client: httpx.AsyncClient, doubles: Doubles, kind: str, token: str
) -> None:
    path = f"/api/callback/{kind}/{token}" if token else f"/api/callback/{kind}"
    response = await client.post(path, content=BODY)

    assert (response.status_code, response.json()) == (200, ACCEPTED)
    [callback] = doubles.generation.callbacks
    assert (callback.kind, callback.token, callback.body) == (kind, token, BODY)


async def test_the_path_of_the_community_front_end_is_that_of_flux_kontext(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    response = await client.post("/api/kie/kie-callback", content=BODY)

    assert (response.status_code, response.json()) == (200, ACCEPTED)
    [callback] = doubles.generation.callbacks
    assert (callback.kind, callback.token, callback.body) == ("flux-kontext", "", BODY)


async def test_only_the_headers_of_a_webhook_go_along(client: httpx.AsyncClient, doubles: Doubles) -> None:
    headers = {
        "X-Webhook-Signature": "c2ln",
        "X-Webhook-Timestamp": "1793880000",
        "Content-Type": "text/plain",
        "Authorization": "Bearer secret",
        "Cookie": "a=b",
    }
    await client.post("/api/callback/image-generated", content=BODY, headers=headers)

    assert dict(doubles.generation.callbacks[0].headers) == {
        "x-webhook-signature": "c2ln",
        "x-webhook-timestamp": "1793880000",
        "content-type": "text/plain",
    }


async def test_a_refused_webhook_is_not_acknowledged(client: httpx.AsyncClient, doubles: Doubles) -> None:
    headers = {"X-Webhook-Signature": "forged"}
    response = await client.post("/api/callback/image-generated", content=BODY, headers=headers)

    assert response.status_code == 401
    assert response.json() == failure("INVALID_SIGNATURE", "The webhook's signature is wrong.")
    assert not doubles.generation.callbacks


async def test_a_token_that_is_none_is_refused(client: httpx.AsyncClient, doubles: Doubles) -> None:
    response = await client.post("/api/callback/image-generated/a%20b", content=BODY)

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "token is missing or not an id.")
    assert not doubles.generation.callbacks
