"""A small load generator: keep-alive connections on raw sockets, every answer checked, so that it is not the limit."""

import asyncio
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

CONNECTIONS = 16
SECONDS = 3.0
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Result:
    """Requests per second, latencies in milliseconds, and how many answers were not the expected bytes."""

    rate: float
    p50: float
    p99: float
    bad: int


async def load(url: str, expected: bytes, seconds: float = SECONDS) -> Result:
    """Ask for one URL again and again; the body must contain the expected bytes."""
    await _round(url, expected, WARM_UP_SECONDS)
    start = time.perf_counter()
    latencies, bad = await _round(url, expected, seconds)
    took = time.perf_counter() - start
    quantiles = statistics.quantiles(latencies, n=100)
    return Result(len(latencies) / took, quantiles[49] * 1000, quantiles[98] * 1000, bad)


async def _round(url: str, expected: bytes, seconds: float) -> tuple[list[float], int]:
    end = time.perf_counter() + seconds
    rows = await asyncio.gather(*(_connection(url, expected, end) for _ in range(CONNECTIONS)))
    return [latency for latencies, _ in rows for latency in latencies], sum(bad for _, bad in rows)


async def _connection(url: str, expected: bytes, end: float) -> tuple[list[float], int]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    latencies, bad = [], 0
    while (start := time.perf_counter()) < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(_length(head))
        latencies.append(time.perf_counter() - start)
        bad += not head.startswith(b"HTTP/1.1 200") or expected not in body
    writer.close()
    return latencies, bad


def _length(head: bytes) -> int:
    line = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(line.split(b":")[1])
