"""Makes requests observable: an id that the answer, the log lines and the calls carry, and one log line for each."""

import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.middleware.headers import on_start
from gateway.rest.routing import template
from services.chassis import context
from services.chassis.names import ID, new_id

HEADER = "x-request-id"

QUIET_ROUTES = ("/healthz", "/readyz")  # asked every few seconds by machines

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


class AccessLog:
    """Logs method, route, status and milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it ended."""
        start, status = time.perf_counter(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = int(message.get("status", status))  # an HTTPStatus is written with its name otherwise
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            _log(scope, status, time.perf_counter() - start)


def _log(scope: Scope, status: int, seconds: float) -> None:
    route = template(scope)
    if route not in QUIET_ROUTES:
        logger.info("http", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
