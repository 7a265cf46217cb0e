"""What the storage tests feed in: pictures by their first bytes, and a web server that says exactly what it is told."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

PATIENCE_SECONDS = 30.0  # far beyond what a loaded machine needs
HEADS = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "webp": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "gif": b"GIF89a\x01\x00\x01\x00",
}


def picture(extension: str = "png", seed: str = "", size: int = 2000) -> bytes:
    """Bytes that begin as a picture of that type and differ by seed."""
    head = HEADS[extension]
    filling = hashlib.sha256(seed.encode()).digest()
    return (head + filling * (size // len(filling) + 1))[:size]


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as a stream."""
    for chunk in chunks:
        yield chunk


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task, thread or process does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no event of ours
            await asyncio.sleep(0.01)


def ok(body: bytes, *headers: str) -> bytes:
    """A whole HTTP answer with a body."""
    return answer(200, f"Content-Length: {len(body)}", *headers) + body


def answer(status: int, *headers: str) -> bytes:
    """The head of an HTTP answer after which the connection is closed."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", "Connection: close", *headers, "", ""]).encode()


class Remote:
    """A web server that sends raw answers by path, in turn when there are several, and remembers its visitors."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, list[bytes]] = {}
        self.hanging: set[str] = set()
        self.visits: list[str] = []
        self.requests: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    @property
    def authority(self) -> str:
        """The host and port, as OUTBOUND_ALLOW_PRIVATE takes them."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://{self.authority}{path}"

    def put(self, path: str, *answers: bytes) -> str:
        """Set the answers of a path, the last one for ever; returns its URL."""
        self.answers[path] = list(answers)
        return self.url(path)

    def put_hanging(self, path: str, beginning: bytes) -> str:
        """Answer with a beginning and then nothing more."""
        self.hanging.add(path)
        return self.put(path, beginning)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = request.split(" ", 2)[1]
        self.visits.append(path)
        self.requests.append(request)
        await self.held.wait()
        answers = self.answers.get(path, [answer(404, "Content-Length: 0")])
        writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
        if path in self.hanging:
            await reader.read()
        writer.close()


@asynccontextmanager
async def open_remote(tls: ssl.SSLContext | None = None) -> AsyncIterator[Remote]:
    """Run the server on a free port."""
    remote = Remote()
    server = await asyncio.start_server(remote._visit, "127.0.0.1", 0, ssl=tls)
    remote.port = server.sockets[0].getsockname()[1]
    yield remote
    server.close()
