"""Bodies that are not the JSON object they should be; nothing is ordered by any of them."""

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import failure

PATHS = (
    "/api/generate-image",
    "/api/flux-kontext/generate",
    "/api/share",
    "/api/download-url",
    "/api/download-and-upload",
)
NOT_JSON = {
    "broken": b'{"prompt": "a',
    "trailing": b'{"prompt": "a"} x',
    "nan": b'{"prompt": "a", "n": NaN}',
    "infinity": b'{"prompt": "a", "n": 1e999}',
    "lone surrogate": b'{"prompt": "\\ud800"}',
    "not utf-8": b'{"prompt": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"prompt": "a"}',
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", NOT_JSON)
async def test_malformed_json_is_400(client: httpx.AsyncClient, doubles: Doubles, path: str, kind: str) -> None:
    response = await client.post(path, content=NOT_JSON[kind], headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "The body is not valid JSON.")
    assert not doubles.generation.rows
    assert not doubles.share.rows


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_missing_body_is_told_from_a_broken_one(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/api/share" if method == "POST" else "/api/share/share_1")

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "The body is empty. Send a JSON object.")


@pytest.mark.parametrize("path", PATHS)
async def test_a_url_that_never_ends_is_refused_without_trying_every_way_to_read_it(
    client: httpx.AsyncClient, path: str
) -> None:
    """A pattern that backtracks would hold up everybody for an hour."""
    url = f"https://{'a' * 200_000} b"
    fields = dict.fromkeys(("fileUrl", "inputImage", "generatedUrl", "url"), url)
    response = await client.post(path, json={"prompt": "a", **fields})

    assert response.status_code == 400
    assert response.json()["error"].endswith(" is too long: at most 8192 characters are taken.")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"true"])
async def test_json_that_is_no_object_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/generate-image", content=body)

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", "The body must be a JSON object.")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json;a", "nonsense"]
)
async def test_a_body_declared_as_something_else_is_415(client: httpx.AsyncClient, doubles: Doubles, kind: str) -> None:
    """A page of another site can send these without a preflight (docs/security.md#csrf)."""
    response = await client.post("/api/generate-image", content=b'{"prompt":"a"}', headers={"Content-Type": kind})

    assert response.status_code == 415
    assert response.json() == failure("UNSUPPORTED_MEDIA_TYPE", "Send JSON, with content type application/json.")
    assert not doubles.generation.rows


@pytest.mark.parametrize(
    "kind", [None, "application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]
)
async def test_json_by_any_of_its_names_is_taken(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = await client.post("/api/generate-image", content=b'{"prompt":"a"}', headers=headers)

    assert response.status_code == 200


@pytest.mark.parametrize("field", ["prompt", "size", "fileUrl"])
async def test_a_nul_character_is_refused(client: httpx.AsyncClient, field: str) -> None:
    response = await client.post("/api/generate-image", json={"prompt": "a", field: "a\x00b"})

    assert response.status_code == 400
    assert response.json() == failure("INVALID_INPUT", f"{field} holds a NUL character. Remove it.")


async def test_unknown_fields_and_nulls_are_ignored(client: httpx.AsyncClient) -> None:
    body = {"prompt": "a", "colour": [1], "size": None, "fileUrl": None, "enhancePrompt": None, "mode": None}

    assert (await client.post("/api/generate-image", json=body)).status_code == 200
