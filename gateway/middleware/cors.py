"""Lets pages of other origins call us as docs/rest.md#cors has it: OPTIONS is 200 anywhere, headers on all."""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.middleware.headers import on_start

EVERY_ANSWER = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    # The seed's two, and ours: a page could not send what is not named here.
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key, Prefer, X-Request-Id, X-Share-Token",
    # And what a page could not read: whose answer it was, when to come again, and how an order was taken.
    "Access-Control-Expose-Headers": (
        "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, "
        "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
        "Idempotent-Replayed, Preference-Applied, Location, ETag"
    ),
    "Access-Control-Max-Age": "86400",
}


class Cors:
    """Adds the headers, and answers every preflight itself."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._anyone = "*" in origins
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it is a preflight."""
        origin = Headers(scope=scope).get("origin", "")
        app = Response() if scope["method"] == "OPTIONS" else self._app
        await app(scope, receive, on_start(send, lambda headers: self._mark(headers, origin)))

    def _mark(self, headers: MutableHeaders, origin: str) -> None:
        headers.update(EVERY_ANSWER)
        headers.add_vary_header("Origin")
        if self._anyone:
            headers["Access-Control-Allow-Origin"] = "*"
        elif origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
