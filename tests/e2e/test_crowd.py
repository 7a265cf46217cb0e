"""Somebody who opens a thousand connections and sends or reads slowly on each keeps nobody else from the site."""

import asyncio
import io
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from PIL import Image

from deploy.launcher.preflight import allow_files, most_files
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

EACH = 1000  # slow senders, slow readers and idle connections
GREEDY = "127.0.0.2"  # another client than the tests, who come from 127.0.0.1
RECEIVE_BYTES = 4096  # so that the kernel takes little for a reader who does not read
PATIENCE_SECONDS = 120.0  # for what must happen, on a busy machine
DESCRIPTORS = 4 * EACH + 500  # of this process: connections, and what a test run opens besides
HEAD = "{} {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = 'content-length: 900\r\n\r\n{"a": "'
FORM = "content-type: multipart/form-data; boundary=x\r\ncontent-length: 90000\r\n\r\n--x\r\n"


@pytest.fixture(autouse=True)
def descriptors() -> None:
    if most_files() < DESCRIPTORS:
        pytest.skip(f"only {most_files()} files may be open on this machine")
    allow_files()


@pytest.fixture
def picture(stack: Stack) -> str:
    """The path of a picture that is larger than all buffers on its way."""
    file = io.BytesIO()
    Image.frombytes("RGB", (2000, 1600), os.urandom(2000 * 1600 * 3)).save(file, "PNG")
    uploaded = stack.http.post("/api/upload-image", files={"file": ("a.png", file.getvalue(), "image/png")})
    return str(httpx.URL(uploaded.raise_for_status().json()["fileUrl"]).raw_path.decode())


class Crowd:
    """Connections of one client."""

    def __init__(self, stack: Stack, exits: AsyncExitStack) -> None:
        self._address, self._stack = ("127.0.0.1", int(stack.url.rpartition(":")[2])), exits
        self._kept: list[asyncio.StreamWriter] = []  # one that is collected closes its connection

    async def open(self, text: str = "") -> asyncio.StreamReader:
        """A connection that sends this and no more, and reads nothing."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        plain.settimeout(0)
        plain.bind((GREEDY, 0))
        await asyncio.get_running_loop().sock_connect(plain, self._address)
        reader, writer = await asyncio.open_connection(sock=plain, limit=RECEIVE_BYTES)
        self._kept.append(writer)
        self._stack.callback(writer.transport.abort)
        writer.write(text.encode())
        return reader

    async def all_of(self, number: int, *texts: str) -> list[asyncio.StreamReader]:
        """So many of them, each text as often as the others."""
        return [await self.open(texts[place % len(texts)] if texts else "") for place in range(number)]


@asynccontextmanager
async def crowd(stack: Stack) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as exits:
        yield Crowd(stack, exits)


async def works(stack: Stack, picture: str) -> list[tuple[str, int, str]]:
    """What the site answers to somebody else, in words where it refuses."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=PATIENCE_SECONDS, trust_env=False) as other:
        small = io.BytesIO()
        Image.new("RGB", (64, 64), "pink").save(small, "PNG")
        calls = {
            "read": other.get("/api/share/latest"),
            "page": other.get("/"),
            "file": other.get(picture),
            "picture": other.get("/api/img", params={"u": picture, "w": 64}),
            "webhook": other.post("/api/callback/image-generated", json={"code": 200, "data": {"taskId": "unknown"}}),
            "order": other.post("/api/generate-image", json={"prompt": "a patient cat"}),
            "upload": other.post("/api/upload-image", files={"file": ("a.png", small.getvalue(), "image/png")}),
        }
        answers = [(name, await call) for name, call in calls.items()]
        return [(name, answer.status_code, "" if answer.is_success else answer.text) for name, answer in answers]


async def test_slow_senders_slow_readers_and_idle_connections_keep_nobody_out(stack: Stack, picture: str) -> None:
    usual = await works(stack, picture)
    async with crowd(stack) as greedy:
        idle = await greedy.all_of(EACH)
        await greedy.all_of(
            EACH,
            HEAD.format("POST", "/api/generate-image") + BODY,
            HEAD.format("POST", "/api/share") + BODY,
            HEAD.format("POST", "/api/callback/image-generated") + BODY,
            HEAD.format("POST", "/api/upload-image") + FORM,
        )
        crowded_by_senders = await works(stack, picture)
        await greedy.all_of(
            EACH,
            HEAD.format("GET", picture) + "\r\n",
            HEAD.format("GET", f"/api/img?u={picture}&w=2000&fm=png") + "\r\n",
        )
        crowded_by_readers = await works(stack, picture)
        async with asyncio.timeout(PATIENCE_SECONDS):  # an unused connection is closed by itself
            ends = [await reader.read(1) for reader in idle]

    assert {status for _, status, _ in usual} == {200}
    assert crowded_by_senders == usual
    assert crowded_by_readers == usual
    assert set(ends) == {b""}
