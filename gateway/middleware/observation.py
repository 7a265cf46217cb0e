"""Makes requests observable: an id that the answer, the log lines and the calls carry; one log line, and metrics."""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import REQUESTS, SECONDS
from gateway.middleware.headers import on_start
from gateway.rest.responses import template
from services.chassis import context
from services.chassis.names import ID, new_id

HEADER = "x-request-id"

QUIET_ROUTES = ("/healthz", "/readyz")  # asked every few seconds by machines
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})  # anybody may invent others
NOTHING_FITS = "none"  # the route, in metrics, of a path that nobody serves

logger = structlog.get_logger()


class RequestId:
    """Takes the caller's id when its characters are safe to log, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        given = Headers(scope=scope).get(HEADER, "")
        identifier = given if ID.fullmatch(given) else new_id("req")
        context.request_id.set(identifier)

        def mark(headers: MutableHeaders) -> None:
            headers[HEADER] = identifier

        with structlog.contextvars.bound_contextvars(request_id=identifier):
            await self._app(scope, receive, on_start(send, mark))


class Observation:
    """Logs each request, and counts and measures it, with its status: 0 when the caller left before there was one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it ended."""
        start, status = time.perf_counter(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = int(message.get("status", status))  # an HTTPStatus is written with its name otherwise
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            _note(scope, status, time.perf_counter() - start)


def _note(scope: Scope, status: int, seconds: float) -> None:
    route, method = template(scope), scope["method"]
    counted = route or NOTHING_FITS, method if method in KNOWN_METHODS else "OTHER"
    REQUESTS.labels(*counted, str(status)).inc()
    SECONDS.labels(*counted).observe(seconds)
    if route not in QUIET_ROUTES:
        logger.info("http", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
