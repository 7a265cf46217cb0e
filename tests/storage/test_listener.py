"""The public side: what browsers get from /files/."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from services.chassis.addresses import Address
from services.chassis.errors import Unavailable
from services.chassis.health import Readiness
from services.chassis.tls import internal_tls
from services.storage.backends.local import LocalFiles
from services.storage.core import Uploads
from services.storage.listener import READS_PER_CLIENT, Listener
from services.storage.model import Stat
from services.storage.ports import Backend
from tests.conditions import CASES, expected, found
from tests.storage.public_listener import browsing
from tests.storage.samples import picture
from tests.support.certificates import Authority

BODY = picture(size=5000)
KEY = "generated/gen_a/0.png"
DOWNLOADS, UPLOADS = 512, 64  # what deploy/envoy/envoy.yaml.j2 lets through
CONNECT_SECONDS = 0.9  # the kernel answers at once, or drops the attempt, which is repeated after a second


async def put(backend: Backend, key: str, body: bytes = BODY) -> None:
    async with backend.spool() as spool:
        await spool.write(body)
        await backend.put(key, spool)


async def test_a_crowd_that_comes_at_once_is_not_turned_away(browser: httpx.AsyncClient) -> None:
    """As many as Envoy lets through, while the process is busy with something else: nothing is accepted here."""
    address = (browser.base_url.host, browser.base_url.port)
    with ExitStack() as exits:
        crowd = [socket.create_connection(address, timeout=CONNECT_SECONDS) for _ in range(DOWNLOADS + UPLOADS)]
        for connection in crowd:
            exits.enter_context(connection)

        assert all(connection.getpeername() == address for connection in crowd)


async def test_envoy_is_told_whether_the_process_takes_requests(backend: Backend, uploads: Uploads) -> None:
    readiness, answers = Readiness(), []
    async with browsing(backend, uploads, readiness=readiness) as browser:
        for change in (lambda: None, lambda: readiness.checked(well=False), readiness.drain):
            change()
            answers.append(await browser.get("/-/ready"))

    assert [(answer.status_code, answer.text) for answer in answers] == [
        (503, "starting\n"),
        (200, "degraded\n"),
        (503, "draining\n"),
    ]


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


async def test_head_answers_with_all_headers_and_no_bytes(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    answer = await browser.head(f"/files/{KEY}")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "5000", b"")


async def test_conditions_and_ranges_are_answered_by_the_book(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    etag = f'"{sha256(BODY).hexdigest()}"'

    for case in CASES:
        answer = await browser.request(case.method, f"/files/{KEY}", headers=case.sent(etag))
        assert found(case, answer) == expected(case, BODY, etag)
        assert answer.headers["cache-control"] == (
            "public, max-age=31536000, immutable" if case.status < 400 else "no-store"
        ), case.title


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_odd_expectation_is_refused_in_json(browser: httpx.AsyncClient, backend: Backend, method: str) -> None:
    await put(backend, KEY)
    answer = await browser.request(method, f"/files/{KEY}", headers={"Expect": "the-unexpected"})

    assert (answer.status_code, answer.json()["code"]) == (417, "EXPECTATION_FAILED")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "nonsense", "gzip, gzip"])
async def test_a_file_that_is_sent_encoded_is_refused_in_json(browser: httpx.AsyncClient, coding: str) -> None:
    """The server must not take compressed bytes for a picture, nor fail over a coding that it does not know."""
    answer = await browser.put("/files/-/uploads/t", content=b"not compressed", headers={"Content-Encoding": coding})

    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_read_with_an_encoded_body_is_a_read(browser: httpx.AsyncClient, backend: Backend) -> None:
    await put(backend, KEY)
    answer = await browser.request("GET", f"/files/{KEY}", content=b"x", headers={"Content-Encoding": "br"})

    assert (answer.status_code, answer.content) == (200, BODY)


async def test_long_headers_are_left_to_the_edge_to_refuse(browser: httpx.AsyncClient, backend: Backend) -> None:
    """Aiohttp's own refusal, from 8 KB on, is plain text; Envoy's, from 60 KB on, is JSON."""
    await put(backend, KEY)
    answer = await browser.get(f"/files/{KEY}", headers={"Cookie": "a" * 60_000})

    assert (answer.status_code, answer.content) == (200, BODY)


async def test_a_file_that_goes_before_it_is_opened_is_404(uploads: Uploads, tmp_path: Path) -> None:
    class Fleeting(LocalFiles):
        async def path(self, key: str) -> Path | None:
            found = await super().path(key)
            if found:
                found.unlink()
            return found

    backend = Fleeting(tmp_path / "fleeting")
    await put(backend, KEY)
    async with browsing(backend, uploads) as browser:
        answer = await browser.get(f"/files/{KEY}")

    assert (answer.status_code, answer.json()["code"], answer.headers["cache-control"]) == (
        404,
        "NOT_FOUND",
        "no-store",
    )


class Torn(LocalFiles):
    """A backend in which no object is a local file, and whose reads break off after the first piece."""

    async def path(self, key: str) -> None:
        del key

    async def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        async for chunk in super().read(key, offset, limit):
            if offset:
                raise Unavailable("The backend is down.", "STORAGE_DOWN", retry_after=1)
            yield chunk
            raise Unavailable("The backend is down.", "STORAGE_DOWN", retry_after=1)


async def test_bytes_that_break_off_are_no_whole_answer_and_a_backend_that_is_down_is_an_error(
    uploads: Uploads, tmp_path: Path
) -> None:
    torn = Torn(tmp_path / "torn")
    await put(torn, KEY, picture(size=900_000))
    async with browsing(torn, uploads) as browser:
        with pytest.raises(httpx.RemoteProtocolError):
            await browser.get(f"/files/{KEY}")
        answer = await browser.get(f"/files/{KEY}", headers={"Range": "bytes=10-"})

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "STORAGE_DOWN", "1")


async def test_one_client_cannot_hold_all_downloads(uploads: Uploads, tmp_path: Path) -> None:
    class Slow(LocalFiles):
        async def stat(self, key: str) -> Stat | None:
            inside.release()
            await door.wait()
            return await super().stat(key)

    inside, door = asyncio.Semaphore(0), asyncio.Event()
    greedy, other = {"x-kawaii-client": "192.0.2.1"}, {"x-kawaii-client": "192.0.2.2"}
    backend = Slow(tmp_path / "slow")
    async with browsing(backend, uploads, connections=200) as browser:
        held = [asyncio.create_task(browser.get(f"/files/{KEY}", headers=greedy)) for _ in range(READS_PER_CLIENT)]
        for _ in held:
            await inside.acquire()
        refused = await browser.get(f"/files/{KEY}", headers=greedy)
        free = asyncio.create_task(browser.get(f"/files/{KEY}", headers=other))
        await inside.acquire()
        door.set()
        await asyncio.gather(free, *held)

    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert (await free).status_code == 404


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


async def test_with_tls_files_go_to_envoy_alone(backend: Backend, uploads: Uploads, tmp_path: Path) -> None:
    """Whole files and parts of them, larger than what fits into one record or buffer."""
    authority = Authority.of(tmp_path / "certs")
    tls = internal_tls(authority.issue("storage"))
    assert tls
    body = picture(size=3_000_000)
    await put(backend, KEY, body)
    context = tls.server_context("files", "envoy")
    listener = Listener(Address("127.0.0.1", 0), backend, uploads, readiness=Readiness(), context=context)
    runner = await listener.started()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/files/{KEY}"
    named = {"sni_hostname": "storage.kawaii.internal"}
    async with httpx.AsyncClient(verify=authority.client_context("envoy"), trust_env=False) as envoy:
        whole = await envoy.get(url, extensions=named)
        part = await envoy.get(url, headers={"Range": "bytes=1000000-2999999"}, extensions=named)
    refused = 0
    for context in (authority.client_context("gateway"), authority.client_context()):
        async with httpx.AsyncClient(verify=context, trust_env=False) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get(url, extensions=named)
            refused += 1
    await runner.cleanup()

    assert (whole.status_code, whole.content) == (200, body)
    assert (part.status_code, part.content) == (206, body[1_000_000:])
    assert refused == 2
