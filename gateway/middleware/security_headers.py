"""Tells browsers not to guess types, not to leak our addresses and not to be framed by others."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.middleware.headers import on_start

# A year, and this host only: its siblings and the browsers' built-in lists are for the owner of the domain to decide.
ONLY_HTTPS = {"Strict-Transport-Security": "max-age=31536000"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "SAMEORIGIN",
}
# Of JSON, which no browser has to run or show in a frame. Pages and pictures have policies of their own
# (pages/templates.py, stored_bytes.py); a 304 has none, since a browser would put it over the page that it kept.
JSON, CSP = "application/json", "Content-Security-Policy"
CSP_OF_JSON = "default-src 'none'; frame-ancestors 'none'"


class SecurityHeaders:
    """Adds the headers to every answer; on a site that is public by https also the word that it is only there."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._headers = HEADERS | (ONLY_HTTPS if origin.startswith("https://") else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await self._app(scope, receive, on_start(send, self._mark))

    def _mark(self, headers: MutableHeaders) -> None:
        headers.update(self._headers)
        if headers.get("Content-Type", "").startswith(JSON):
            headers.setdefault(CSP, CSP_OF_JSON)
