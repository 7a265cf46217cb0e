"""Writes headers on every answer: those that protect browsers, and those that let pages of other origins call us.

CORS is as docs/rest.md#cors has it: OPTIONS is answered 200 at any path, and every answer carries the headers.
"""

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.origins import is_only_https

# A year, and this host only: its siblings and the browsers' built-in lists are for the owner of the domain to decide.
ONLY_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
# Of JSON, which no browser has to run or show in a frame. Pages and pictures have policies of their own
# (pages/views.py, routes/media.py); a 304 has none, since a browser would put it over the page that it kept.
JSON, CSP = "application/json", "Content-Security-Policy"
CSP_OF_JSON = "default-src 'none'; frame-ancestors 'none'"

EVERY_ANSWER = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    # The seed's two, and ours: a page could not send what is not named here.
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key, Prefer, X-Request-Id, X-Share-Token",
    # And what a page could not read otherwise: the request id, limits, and how an order was taken.
    "Access-Control-Expose-Headers": (
        "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, "
        "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
        "Idempotent-Replayed, Preference-Applied, Location, ETag"
    ),
    "Access-Control-Max-Age": "86400",
}


def on_start(send: Send, change: Callable[[MutableHeaders], None]) -> Send:
    """A `send` that applies `change` to the headers of the answer."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            change(MutableHeaders(scope=message))
        await send(message)

    return sender


class SecurityHeaders:
    """Adds the headers to every answer; on an https site also HSTS, which keeps browsers on https."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._headers = SECURITY_HEADERS | (ONLY_HTTPS if is_only_https(origin) else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app(scope, receive, on_start(send, self._mark))

    def _mark(self, headers: MutableHeaders) -> None:
        headers.update(self._headers)
        if headers.get("Content-Type", "").startswith(JSON):
            headers.setdefault(CSP, CSP_OF_JSON)


class Cors:
    """Adds the CORS headers to every answer, and answers preflights itself."""

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
