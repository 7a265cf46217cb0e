"""Bounds what one client may have under way, before everything else: each kind of request by a bound of its own."""

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.rest import client_address
from services.chassis.client_limits import GATHERED_BYTES, ClientLimit
from services.chassis.errors import KawaiiError

Refuse = Callable[[KawaiiError], ASGIApp]
"""Makes the application that answers with an error."""


class ClientLimits:
    """Counts each request until its answer is read: by the first prefix that its path has, else by `others`.

    One whose body streams counts as `streams` instead of `others`: its client may hold it up for as long as it likes.
    """

    def __init__(
        self,
        app: ASGIApp,
        kinds: Sequence[tuple[str, ClientLimit]],
        streams: ClientLimit,
        others: ClientLimit,
        refuse: Refuse,
    ) -> None:
        self._app, self._kinds, self._streams, self._others, self._refuse = app, kinds, streams, others, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        limit = self._limit(scope)
        client = client_address.address_of_scope(scope)
        if not limit.take(client):
            await self._refuse(limit.refusal())(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            limit.give_back(client)

    def _limit(self, scope: Scope) -> ClientLimit:
        rest = self._streams if has_streaming_body(scope) else self._others
        return next((limit for prefix, limit in self._kinds if scope["path"].startswith(prefix)), rest)


def has_streaming_body(scope: Scope) -> bool:
    """Whether Envoy did not gather the body, by the same rule as its routes have."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    return "transfer-encoding" in headers or (length.isdecimal() and int(length) > GATHERED_BYTES)
