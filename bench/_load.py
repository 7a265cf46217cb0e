"""A small load generator: keep-alive connections, every answer checked, and cheap, so that it is not the limit."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import uvloop

CONNECTIONS = 32
SECONDS = 2.0
WARM_UP_SECONDS = 0.5
OK = b"HTTP/1.1 200"


@dataclass(frozen=True)
class Result:
    """Requests per second and in all, latencies in milliseconds, and how many answers were not the expected ones."""

    rate: float
    count: int
    p50: float
    p99: float
    bad: int


class Asked(Protocol):
    """Where to ask, and what: whole requests for ever, each with bytes that its answer must hold."""

    @property
    def base(self) -> str: ...

    def requests(self) -> Iterator[tuple[bytes, bytes]]: ...


@dataclass(frozen=True)
class Sequel:
    """Requests each of which is sent once: a load goes on where the one before it ended."""

    base: str
    made: Iterator[tuple[bytes, bytes]]

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """Whole requests and the bytes expected, for ever."""
        return self.made


@dataclass(frozen=True)
class Target:
    """Where to ask: paths in turn, each with bytes that its answer must hold."""

    base: str
    wanted: Sequence[tuple[str, bytes]]

    def requests(self) -> Iterator[tuple[bytes, bytes]]:
        """Whole requests and the bytes expected, for ever."""
        host = urlsplit(self.base).netloc
        made = [(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), expected) for path, expected in self.wanted]
        return itertools.cycle(made)


class Connection(asyncio.Protocol):
    """Asks, checks, and asks again until the time is over."""

    def __init__(self, requests: Iterator[tuple[bytes, bytes]], end: float, latencies: list[float]) -> None:
        self._requests, self._end, self._latencies = requests, end, latencies
        self.bad = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first time."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        if head > 0 and len(self._answer) >= head + 4 + length(self._answer[:head]):
            now = time.perf_counter()
            self._latencies.append(now - self._start)
            self.bad += not self._answer.startswith(OK) or self._expected not in self._answer
            if now < self._end:
                self._ask()
            else:
                self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """The end, ours or theirs."""
        self.done.set_result(None)

    def _ask(self) -> None:
        request, self._expected = next(self._requests)
        self._answer, self._start = b"", time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined] # it is a TCP transport


def length(head: bytes) -> int:
    """The length that an answer declares."""
    start = head.lower().find(b"content-length:") + 15
    return int(head[start:].split(b"\r\n", 1)[0])


def load(target: Asked, seconds: float = SECONDS) -> Result:
    """Ask a target for so many seconds, over 32 connections."""
    start = time.perf_counter()
    latencies, bad = uvloop.run(_round(target, start + seconds))
    took = time.perf_counter() - start
    quantiles = statistics.quantiles(latencies, n=100)
    return Result(len(latencies) / took, len(latencies), quantiles[49] * 1000, quantiles[98] * 1000, bad)


async def _round(target: Asked, end: float) -> tuple[list[float], int]:
    parts, requests, latencies = urlsplit(target.base), target.requests(), list[float]()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(requests, end, latencies), parts.hostname, parts.port)
        for _ in range(CONNECTIONS)
    ]
    for _, connection in opened:
        await connection.done
    return latencies, sum(connection.bad for _, connection in opened)
