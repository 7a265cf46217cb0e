"""Gives every request an id that its answer, its log lines and the calls it causes carry."""

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.middleware.headers import on_start
from services.chassis import context
from services.chassis.names import ID, new_id

HEADER = "x-request-id"


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
