"""The port on which Prometheus reads the metrics of a process.

A few lines of our own serve it: three paths, one method, no framework and no thread. `/livez` is answered by the
event loop that does all work of the process and asks no dependency, so that a process which does not answer it hangs,
and only a restart helps. `/readyz` says whether the process takes work: 200 `serving` or `degraded` (a dependency is
away), 503 `starting` or `draining`. `prometheus_client.start_http_server` answers from a thread for each connection,
also while the event loop hangs; it has no bound for slow clients, answers nearly every path with the metrics, and
cannot await the refresh of gauges. Its ASGI application would need an HTTP server in each process that has none.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, disable_created_metrics, generate_latest

from services.chassis.addresses import Address
from services.chassis.event_loop import measure_lag
from services.chassis.health import Readiness

# They would add a series to each counter that nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types for it

MAX_REQUEST_BYTES = 8192  # a scrape's head has some 300
REQUEST_SECONDS = 2.0  # a scraper has its request ready, and reads; a slow one must not delay the stop
REFRESH_SECONDS = 5.0  # half of what Prometheus waits for an answer

Refresh = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """The default refresh, for a process without gauges that are looked up."""


class MetricsServer:
    """Answers GET /metrics, /livez and /readyz.

    `refresh` runs before each /metrics, for gauges that are looked up; they stay as they were when it takes too long.
    """

    def __init__(self, address: Address, readiness: Readiness, refresh: Refresh = nothing) -> None:
        self._address = address
        self._readiness = readiness
        self._refresh = refresh

    async def run(self) -> None:
        """Serve until cancelled, and meanwhile measure how late the event loop is."""
        host, port = self._address.host, self._address.port
        server = await asyncio.start_server(self._serve, host, port, limit=MAX_REQUEST_BYTES)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(measure_lag())
            await server.serve_forever()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one request; a client that sends none in time, or hangs up, gets no answer."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await _request_line(reader)
            answer = await self._answer(line)
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()

    async def _answer(self, line: bytes | None) -> bytes:
        if line is None:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        asked = line.split(b"?")[0].split()[:2]
        if asked == [b"GET", b"/livez"]:
            return _response(HTTPStatus.OK, b"alive\n")
        if asked == [b"GET", b"/readyz"]:
            status = HTTPStatus.OK if self._readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            return _response(status, f"{self._readiness.word}\n".encode())
        if asked != [b"GET", b"/metrics"]:
            return _response(HTTPStatus.NOT_FOUND)
        with suppress(TimeoutError):  # of a busy database: counters are worth more than gauges that are up to date
            async with asyncio.timeout(REFRESH_SECONDS):
                await self._refresh()
        return _response(HTTPStatus.OK, generate_latest())


async def _request_line(reader: StreamReader) -> bytes | None:
    """The first line of a request, once its head has come; None when the head is too long."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None
    return head.partition(b"\r\n")[0]


def _response(status: HTTPStatus, body: bytes = b"") -> bytes:
    """An answer after which the connection ends; one without a body says its status in words."""
    content = body or f"{status.phrase}\n".encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\n"
    return f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content
