"""Bounds what one client may have under way, before everything else: each kind of request by a bound of its own."""

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import callers
from services.chassis.client_limits import ClientLimit
from services.chassis.errors import KawaiiError

Refuse = Callable[[KawaiiError], ASGIApp]
"""Makes the application that answers with an error."""


class ClientLimits:
    """Counts each request until its answer is read, by the first prefix that its path has, else by `others`."""

    def __init__(
        self, app: ASGIApp, kinds: Sequence[tuple[str, ClientLimit]], others: ClientLimit, refuse: Refuse
    ) -> None:
        self._app, self._kinds, self._others, self._refuse = app, kinds, others, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        limit = self._limit(scope["path"])
        client = callers.address_of_scope(scope)
        if not limit.take(client):
            await self._refuse(limit.refusal())(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            limit.give_back(client)

    def _limit(self, path: str) -> ClientLimit:
        return next((limit for prefix, limit in self._kinds if path.startswith(prefix)), self._others)
