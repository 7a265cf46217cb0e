"""An upstream on a real socket that behaves as badly as a test wants, and counts what reached it."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """One request, as it came off the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Serves one behaviour on a port of its own while inside."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self._tasks: set[asyncio.Task[None]] = set()
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._behave(reader, writer))
        self._tasks.add(task)
        await asyncio.wait([task])

    async def _behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while first := await reader.read(1):
                self.events.append("first byte")
                self.requests.append(await request_in(first, reader))
                self.asked.set()
                await self.behaviour(reader, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def request_in(first: bytes, reader: asyncio.StreamReader) -> Request:
    """Read one request whose first byte has come."""
    head = first + await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode().rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(line.removesuffix(" HTTP/1.1"), headers, body)


def raw(answer: bytes) -> Behaviour:
    """Sends these bytes."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return behave


def page(status: int, body: bytes, *headers: str) -> Behaviour:
    """Answers with a body of any kind."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return raw("\r\n".join([*head, "", ""]).encode() + body)


def reply(document: Any, status: int = 200, *headers: str) -> Behaviour:
    """Answers with JSON."""
    return page(status, json.dumps(document).encode(), "Content-Type: application/json", *headers)
