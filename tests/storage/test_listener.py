"""The public side: what browsers get from /files/."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from services.chassis.errors import Unavailable
from services.storage.backends.local import LocalFiles
from services.storage.core import Uploads
from services.storage.ports import Backend
from tests.storage.doors import browsing
from tests.storage.samples import picture

BODY = picture(size=5000)
KEY = "generated/gen_a/0.png"


async def put(backend: Backend, key: str, body: bytes = BODY) -> None:
    async with backend.draft() as draft:
        await draft.write(body)
        await backend.put(key, draft)


async def test_a_file_is_sent_with_its_type_and_may_be_cached_for_ever(
    browser: httpx.AsyncClient, backend: Backend
) -> None:
    await put(backend, KEY)
    answer = await browser.get(f"/files/{KEY}")

    assert (answer.status_code, answer.content) == (200, BODY)
    expected = {
        "content-type": "image/png",
        "content-length": "5000",
        "cache-control": "public, max-age=31536000, immutable",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "Content-Length, Content-Range, ETag",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "accept-ranges": "bytes",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("uploads/a.png", "image/png"),
        ("uploads/a.jpg", "image/jpeg"),
        ("kie-downloads/a.jpeg", "image/jpeg"),
        ("uploads/a.webp", "image/webp"),
        ("uploads/a.gif", "image/gif"),
        ("artworks/original/0b.html", "application/octet-stream"),
        ("artworks/original/0b", "application/octet-stream"),
    ],
)
async def test_the_type_comes_from_our_own_table(
    browser: httpx.AsyncClient, backend: Backend, key: str, content_type: str
) -> None:
    await put(backend, key)

    assert (await browser.get(f"/files/{key}")).headers["content-type"] == content_type


async def test_head_tells_all_but_the_bytes(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    answer = await browser.head(f"/files/{KEY}")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "5000", b"")


@pytest.mark.parametrize(
    ("wanted", "start", "end"), [("bytes=0-99", 0, 100), ("bytes=4990-", 4990, 5000), ("bytes=-10", 4990, 5000)]
)
async def test_a_range_is_sent_as_206(
    browser: httpx.AsyncClient, backend: Backend, wanted: str, start: int, end: int
) -> None:
    await put(backend, KEY)
    answer = await browser.get(f"/files/{KEY}", headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (206, BODY[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/5000"


async def test_a_range_beyond_the_end_is_416(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    answer = await browser.get(f"/files/{KEY}", headers={"Range": "bytes=5000-"})

    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */5000")


async def test_what_the_browser_has_is_not_sent_again(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    etag = (await browser.get(f"/files/{KEY}")).headers["etag"]
    answer = await browser.get(f"/files/{KEY}", headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (304, b"")


async def test_the_validator_is_the_hash_wherever_the_bytes_lie(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    whole, part = await browser.get(f"/files/{KEY}"), await browser.get(f"/files/{KEY}", headers={"Range": "bytes=0-9"})
    missed = await browser.get(f"/files/{KEY}", headers={"If-None-Match": '"another"'})
    known = await browser.get(f"/files/{KEY}", headers={"If-None-Match": f'"x", W/{whole.headers["etag"]}'})

    assert whole.headers["etag"] == part.headers["etag"] == f'"{sha256(BODY).hexdigest()}"'
    assert (missed.status_code, missed.content) == (200, BODY)
    assert (known.status_code, known.headers["etag"]) == (304, whole.headers["etag"])
    assert known.headers["cache-control"] == whole.headers["cache-control"]


async def test_a_resumed_download_is_let_go_on_by_the_validator_it_has(
    browser: httpx.AsyncClient, backend: Backend
) -> None:
    await put(backend, KEY)
    etag = (await browser.get(f"/files/{KEY}")).headers["etag"]
    resumed = await browser.get(f"/files/{KEY}", headers={"If-Match": etag, "Range": "bytes=4000-"})
    other = await browser.get(f"/files/{KEY}", headers={"If-Match": '"another"', "Range": "bytes=4000-"})

    assert (resumed.status_code, resumed.content) == (206, BODY[4000:])
    assert (other.status_code, other.content) == (412, b"")


class Torn(LocalFiles):
    """A place in which no object is a file, and that breaks off after the first piece."""

    async def path(self, key: str) -> None:
        del key

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        async for chunk in super().read(key, offset, limit):
            if offset:
                raise Unavailable("The place is down.", "STORAGE_DOWN", retry_after=1)
            yield chunk
            raise Unavailable("The place is down.", "STORAGE_DOWN", retry_after=1)


async def test_bytes_that_break_off_are_no_whole_answer_and_a_place_that_is_down_is_told(
    uploads: Uploads, tmp_path: Path
) -> None:
    torn = Torn(tmp_path / "torn")
    await put(torn, KEY, picture(size=900_000))
    async with browsing(torn, uploads) as browser:
        with pytest.raises(httpx.RemoteProtocolError):
            await browser.get(f"/files/{KEY}")
        answer = await browser.get(f"/files/{KEY}", headers={"Range": "bytes=10-"})

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "STORAGE_DOWN", "1")


NOWHERE = [
    "/files/uploads/none.png",
    "/files/",
    "/files",
    "/",
    "/uploads/a.png",
    "/files/pending/a.png",
    "/files/.drafts/a.png",
    "/files/other/a.png",
    "/files/uploads",
    "/files/uploads/",
    "/files/uploads/../pending/a.png",
    "/files/uploads/%2e%2e/pending/a.png",
    "/files/uploads/..%2fpending/a.png",
    "/files/uploads/%61.png",
    "/files//uploads/a.png",
    "/files/uploads//a.png",
    "/files/uploads/.a.png",
    "/files/uploads/a.png%00",
    "/files/uploads/a.png/",
    "/files/uploads/a\\b.png",
    f"/files/uploads/{'a' * 300}.png",
    f"/files/uploads/{'a' * 3000}.png",
    "/files/uploads/link.png",
    "/files/linked/a.png",
]


@pytest.mark.parametrize("path", NOWHERE)
async def test_any_other_path_is_404_in_json(
    browser: httpx.AsyncClient, backend: Backend, tmp_path: Path, path: str
) -> None:
    for key in ("uploads/a.png", "pending/a.png", "other/a.png"):
        await put(backend, key)
    folder = tmp_path / "objects" / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link.png").symlink_to(folder / "a.png")
    url = httpx.URL(str(browser.base_url)).copy_with(raw_path=path.encode())
    answer = await browser.get(url)

    assert answer.status_code == 404
    assert answer.json() == {
        "success": False,
        "error": "There is no such file.",
        "code": "NOT_FOUND",
        "message": "There is no such file.",
    }
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "PUT"])
async def test_any_other_method_is_405_in_json(browser: httpx.AsyncClient, backend: Backend, method: str) -> None:
    await put(backend, KEY)
    answer = await browser.request(method, f"/files/{KEY}")

    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert await backend.stat(KEY)


async def test_a_preflight_is_answered(browser: httpx.AsyncClient) -> None:
    answer = await browser.options(f"/files/{KEY}", headers={"Origin": "https://a.example"})

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PUT" in answer.headers["access-control-allow-methods"]
