"""Orders that are sent twice (docs/rest.md#idempotency)."""

import base64

import httpx
import pytest

from tests.gateway.auth.issuer import AUDIENCE, ISSUER, SECRET, SignIn, publishing
from tests.gateway.auth.test_tokens import shared
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import PNG, failure

ROUTES = {
    "/api/generate-image": {"prompt": "a"},
    "/api/flux-kontext/generate": {"prompt": "a"},
    "/api/nano-banana/generate": {"prompt": "a", "model": "nano-banana"},
}
GPT4O = "/api/generate-image"
KEY = {"Idempotency-Key": "k" * 255}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_repeated_order_joins_the_first_and_says_so(
    client: httpx.AsyncClient, doubles: Doubles, path: str
) -> None:
    first, second = [await client.post(path, json=ROUTES[path], headers=KEY) for _ in range(2)]

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert list(doubles.generation.rows) == ["gen_1"]


@pytest.mark.parametrize("path", ROUTES)
async def test_a_key_that_was_used_for_another_order_is_refused(
    client: httpx.AsyncClient, doubles: Doubles, path: str
) -> None:
    await client.post(path, json=ROUTES[path], headers=KEY)
    response = await client.post(path, json={**ROUTES[path], "prompt": "b"}, headers=KEY)

    assert response.status_code == 422
    assert response.json() == failure(
        "IDEMPOTENCY_KEY_REUSED", "This idempotency key was used for a different request."
    )
    assert list(doubles.generation.rows) == ["gen_1"]


async def test_one_key_on_three_routes_is_three_orders(client: httpx.AsyncClient, doubles: Doubles) -> None:
    answers = [await client.post(path, json=body, headers=KEY) for path, body in ROUTES.items()]

    assert [answer.json()["taskId"] for answer in answers] == ["gen_1", "gen_2", "gen_3"]
    assert all(len(request_id) <= 255 for request_id in doubles.generation.request_ids)


async def test_without_a_key_every_order_is_a_new_one(client: httpx.AsyncClient, doubles: Doubles) -> None:
    for _ in range(2):
        await client.post(GPT4O, json={"prompt": "a"})

    assert list(doubles.generation.rows) == ["gen_1", "gen_2"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("key", [b"k" * 256, b"a\tb", b"\xe4", b"a\x7f"])
async def test_a_malformed_key_is_refused_before_anything_is_stored(
    client: httpx.AsyncClient, doubles: Doubles, path: str, key: bytes
) -> None:
    pasted = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    body = {**ROUTES[path], "fileUrl": pasted, "inputImage": pasted}
    response = await client.post(path, json=body, headers=[(b"Idempotency-Key", key)])

    assert response.status_code == 400
    assert response.json() == failure(
        "INVALID_INPUT", "Idempotency-Key must be at most 255 printable ASCII characters."
    )
    assert not doubles.generation.rows
    assert not doubles.storage.rows


async def test_a_refused_order_leaves_no_pasted_picture_behind(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await client.post(GPT4O, json={"prompt": "a"}, headers=KEY)
    pasted = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    response = await client.post(GPT4O, json={"prompt": "b", "fileUrl": pasted}, headers=KEY)

    assert response.status_code == 422
    assert len(doubles.storage.specs) == 1  # it had been stored
    assert not doubles.storage.kept


PASTED = {
    "/api/generate-image": lambda uri: {"prompt": "a", "fileUrl": uri},
    "/api/flux-kontext/generate": lambda uri: {"prompt": "a", "inputImage": uri},
    "/api/nano-banana/generate": lambda uri: {"prompt": "a", "model": "nano-banana-edit", "imageUrls": [uri]},
}


@pytest.mark.parametrize("path", PASTED)
async def test_a_repeated_order_with_a_pasted_picture_joins_the_first(
    client: httpx.AsyncClient, doubles: Doubles, path: str
) -> None:
    """The picture is stored anew under another URL each time; the order is the same all the same."""
    pasted = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    answers = [await client.post(path, json=PASTED[path](pasted), headers=KEY) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true"]
    assert list(doubles.generation.rows) == ["gen_1"]
    assert list(doubles.storage.kept) == ["uploads/0.png"]


@pytest.mark.parametrize("path", PASTED)
async def test_another_pasted_picture_is_another_order(client: httpx.AsyncClient, doubles: Doubles, path: str) -> None:
    first, second = (f"data:image/png;base64,{base64.b64encode(PNG + more).decode()}" for more in (b"one", b"two"))
    await client.post(path, json=PASTED[path](first), headers=KEY)
    response = await client.post(path, json=PASTED[path](second), headers=KEY)

    assert (response.status_code, response.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert list(doubles.storage.kept) == ["uploads/0.png"]


async def test_one_key_of_two_callers_is_two_orders(client: httpx.AsyncClient) -> None:
    addresses = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:1::1", "2001:db8::2")
    answers = [
        await client.post(GPT4O, json={"prompt": "a"}, headers={**KEY, "x-kawaii-client": address})
        for address in addresses
    ]

    assert [answer.json()["taskId"] for answer in answers] == ["gen_1", "gen_2", "gen_3", "gen_4", "gen_3"]


async def test_a_person_is_the_same_caller_from_everywhere(connect_with: Connect, doubles: Doubles) -> None:
    client = connect_with(auth_hs256_secret=SECRET, auth_audience=AUDIENCE)
    for subject, address in (("mei", "192.0.2.1"), ("mei", "192.0.2.2"), ("ren", "192.0.2.2"), ("", "192.0.2.2")):
        signed = {"Authorization": f"Bearer {shared(sub=subject)}"} if subject else {}
        headers = {**KEY, **signed, "x-kawaii-client": address}
        await client.post(GPT4O, json={"prompt": "a"}, headers=headers)

    assert list(doubles.generation.rows) == ["gen_1", "gen_2", "gen_3"]


async def test_the_same_order_in_another_spelling_is_the_same(client: httpx.AsyncClient, doubles: Doubles) -> None:
    json = {**KEY, "Content-Type": "application/json"}
    first = await client.post(GPT4O, content=b'{"prompt": "a", "size": "1:1"}', headers=json)
    second = await client.post(GPT4O, content=b'{"size":"1:1",\n"prompt":"a"}', headers=json)

    assert first.json()["taskId"] == second.json()["taskId"]
    assert len(doubles.generation.rows) == 1


async def test_who_calls_must_be_known_before_a_key_is_believed(connect_with: Connect, doubles: Doubles) -> None:
    """A guess could order a second time under another caller's name."""
    service = SignIn(down=True)
    service.rotate("one")
    async with publishing(service) as url:
        client = connect_with(auth_jwks_url=url, auth_issuer=ISSUER, auth_audience=AUDIENCE)
        signed = {"Authorization": f"Bearer {service.token('one')}"}
        answer = await client.post(GPT4O, json={"prompt": "a"}, headers={**KEY, **signed})

    assert (answer.status_code, answer.json()["code"]) == (503, "AUTH_UNAVAILABLE")
    assert not doubles.generation.rows
