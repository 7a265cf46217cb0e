"""Counts requests for Prometheus by route, never by path: paths hold ids and tokens, and there is no end of them."""

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rest.routing import template

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})  # anybody may invent others
NOTHING_FITS = "none"  # the route of a path that nobody serves

REQUESTS = Counter("http_requests_total", "Requests that ended.", ("route", "method", "status"))
SECONDS = Histogram("http_request_seconds", "How long requests took, until the last byte.", ("route", "method"))


class Metrics:
    """Counts each request with its status, 0 when the caller left before there was one, and measures it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count how it ended."""
        start, status = time.perf_counter(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = int(message.get("status", status))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            _count(scope, status, time.perf_counter() - start)


def _count(scope: Scope, status: int, seconds: float) -> None:
    route = template(scope) or NOTHING_FITS
    method = scope["method"] if scope["method"] in KNOWN_METHODS else "OTHER"
    REQUESTS.labels(route, method, str(status)).inc()
    SECONDS.labels(route, method).observe(seconds)
