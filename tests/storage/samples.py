"""Inputs of the storage tests: real pictures of any size, and a web server with scripted answers."""

import asyncio
import hashlib
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from services.chassis.errors import InvalidArgument, Unavailable
from services.storage.media import worker, worker_protocol
from services.storage.model import Derivative, Edit, Lane, PictureFacts, PictureType, VariantSpec

PATIENCE_SECONDS = 30.0  # far beyond what a loaded machine needs
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}


@cache
def picture(extension: str = "png", seed: str = "", size: int = 2000) -> bytes:
    """A real picture of that type and of exactly that size, in a colour by the seed; cut off where it is less."""
    colour = tuple(hashlib.sha256(seed.encode()).digest()[:3])
    written = BytesIO()
    Image.new("RGB", (4, 3), colour).save(written, FORMATS[extension])
    whole = written.getvalue()
    room = size - len(whole)
    return PADDED[extension](whole, room) if room > 0 else whole[:size]


def _padded_png(whole: bytes, room: int) -> bytes:
    """A private chunk before the end."""
    chunk = b"paDd" + bytes(room - 12)
    end = whole.index(b"IEND") - 4
    return whole[:end] + struct.pack(">I", room - 12) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[end:]


def _padded_jpeg(whole: bytes, room: int) -> bytes:
    """Comments behind the beginning."""
    comments = b""
    while room:
        length = room if room <= 60_000 else min(60_000, room - 4)
        comments += b"\xff\xfe" + struct.pack(">H", length - 2) + b"x" * (length - 4)
        room -= length
    return whole[:2] + comments + whole[2:]


def _padded_webp(whole: bytes, room: int) -> bytes:
    """An unknown chunk at the end, which counts in the length."""
    padded = whole + b"PADD" + struct.pack("<I", room - 8) + bytes(room - 8)
    return padded[:4] + struct.pack("<I", len(padded) - 8) + padded[8:]


def _padded_gif(whole: bytes, room: int) -> bytes:
    """A comment before the end, in blocks of any length."""
    rest, blocks = room - 3, b""
    while rest:
        length = rest if rest <= 256 else min(256, rest - 2)
        blocks += bytes([length - 1]) + b"x" * (length - 1)
        rest -= length
    return whole[:-1] + b"!\xfe" + blocks + b"\0" + whole[-1:]


PADDED = {"png": _padded_png, "jpg": _padded_jpeg, "webp": _padded_webp, "gif": _padded_gif}


class InlineDecoder:
    """A DecoderPool that decodes in our own process: for tests of everything around it."""

    def __init__(self) -> None:
        self.derived: list[VariantSpec] = []
        self.open = asyncio.Event()
        self.open.set()

    async def inspect(self, path: Path, kind: PictureType, lane: Lane = Lane.CLIENTS) -> PictureFacts:
        """Decode in a thread."""
        head, body = await self._done("inspect", path, kind, places=lane is Lane.CLIENTS)
        at = 0
        edits = []
        for start, stop, size in head.pop("edits"):
            edits.append(Edit(start, stop, body[at : at + size]))
            at += size
        return PictureFacts(**head, edits=tuple(edits))

    async def derive(self, path: Path, kind: PictureType, spec: VariantSpec) -> Derivative:
        """Derive in a thread, once `open` is set."""
        self.derived.append(spec)
        await self.open.wait()
        more = {"box": [spec.width, spec.height], "target": spec.kind.extension, "quality": spec.quality}
        head, content = await self._done("derive", path, kind, **more)
        return Derivative(content, head["width"], head["height"])

    async def _done(self, job: str, path: Path, kind: PictureType, **more: Any) -> worker_protocol.Message:
        order = {"do": job, "path": str(path), "extension": kind.extension, **more}
        head, body = await asyncio.to_thread(worker.done, order)
        if head.get("refused") == worker_protocol.NO_FILE:
            raise Unavailable("The picture went away.", "STUDIO_BUSY")
        if "refused" in head:
            raise InvalidArgument(head["sentence"], head["refused"])
        return head, body


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as a stream."""
    for chunk in chunks:
        yield chunk


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
