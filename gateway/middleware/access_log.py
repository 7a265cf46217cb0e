"""Writes one line per request: the route and never the path, which may hold a callback's token."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rest.routing import template

QUIET_ROUTES = ("/healthz", "/readyz")  # asked every few seconds by machines

logger = structlog.get_logger()


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
            _write(scope, status, time.perf_counter() - start)


def _write(scope: Scope, status: int, seconds: float) -> None:
    route = template(scope)
    if route not in QUIET_ROUTES:
        logger.info("http", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
