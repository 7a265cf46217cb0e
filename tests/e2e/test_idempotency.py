"""A lost answer may be asked for again, at every door that makes something (docs/rest.md#idempotency)."""

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


def png(colour: str) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, "PNG")
    return file.getvalue()


def twice(stack: Stack, method: str, path: str, key: str, **body: Any) -> tuple[httpx.Response, httpx.Response]:
    first, second = (stack.http.request(method, path, headers={"Idempotency-Key": key}, **body) for _ in range(2))
    assert first.status_code == second.status_code == httpx.codes.OK, second.text
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json() == second.json()
    return first, second


@pytest.mark.parametrize("path", ["/api/upload-image", "/api/artworks/upload"])
def test_a_repeated_upload_is_one_file(stack: Stack, path: str) -> None:
    twice(stack, "POST", path, f"upload {path}", files={"file": ("a.png", png("red"), "image/png")})
    other = stack.http.post(
        path, headers={"Idempotency-Key": f"upload {path}"}, files={"file": ("a.png", png("blue"), "image/png")}
    )

    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_repeated_share_has_its_token_and_is_published_once(stack: Stack) -> None:
    picture = {"generatedUrl": "https://pictures.example/idempotent.png", "prompt": "a cat"}
    made = twice(stack, "POST", "/api/share", "share", json=picture)[0].json()
    path, publish = f"/api/share/{made['shareId']}", {"action": "publish", "token": made["publishToken"]}
    twice(stack, "PUT", path, "publish", json=publish)
    other = stack.http.put(path, headers={"Idempotency-Key": "publish"}, json=publish | {"token": "another"})

    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_a_repeated_order_of_the_community_is_one_artwork(stack: Stack) -> None:
    order = {"prompt": "an idempotent cat"}
    made = twice(stack, "POST", "/api/artworks/generate", "order", json=order)[0].json()
    other = stack.http.post(
        "/api/artworks/generate", headers={"Idempotency-Key": "order"}, json=order | {"prompt": "a dog"}
    )

    assert made["data"]["artworkId"]
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(stack.bills("an idempotent cat")) <= 1


def test_a_repeated_save_is_one_artwork_and_another_body_is_refused(stack: Stack) -> None:
    uploaded = stack.http.post("/api/upload-image", files={"file": ("a.png", png("green"), "image/png")}).json()
    picture = {"imageUrl": uploaded["fileUrl"], "title": "An idempotent picture"}
    drafts = "/api/artworks/save-draft"
    made = twice(stack, "POST", drafts, "save", json=picture)[0].json()["data"]
    publish = f"/api/artworks/{made['id']}/publish"
    twice(stack, "POST", publish, "show")
    twice(stack, "POST", "/api/artworks/publish", "publish", json=picture)

    for path, key in ((drafts, "save"), ("/api/artworks/publish", "publish"), (publish, "show")):
        other = stack.http.post(path, headers={"Idempotency-Key": key}, json=picture | {"title": "Another"})
        assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert stack.http.get(f"/api/artworks/{made['id']}").json()["data"]["title"] == picture["title"]
