"""Bounds how many orders with whole pictures in their JSON are in memory at once; others are not touched."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rest import client_address
from services.chassis.client_limits import ClientLimit
from services.chassis.errors import Unavailable

RETRY_SECONDS = 5.0  # an order keeps its place until it is answered
CROWDED = "Too many large orders are being read at the moment. Upload the picture and order with its URL, or try again."


class LargeOrders:
    """Lets only `places` bodies of more than `threshold` bytes in at once, below the given paths; `own` of a client."""

    def __init__(self, app: ASGIApp, threshold: int, places: int, own: int, paths: Sequence[str]) -> None:
        self._app = app
        self._threshold = threshold
        self._free = places
        self._own = ClientLimit(own, "large orders")
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; it takes a place once its body turns out to be large, and leaves it with its answer."""
        if scope["path"].startswith(self._paths):
            await self._watched(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        client, size, held = client_address.address_of_scope(scope), 0, False

        async def receiver() -> Message:
            nonlocal size, held
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._threshold and not held:
                self._take(client)
                held = True
            return message

        try:
            await self._app(scope, receiver, send)
        finally:
            if held:
                self._free += 1
                self._own.give_back(client)

    def _take(self, client: str) -> None:
        """Take a place.

        Raises:
            Unavailable: all are taken.
            ResourceExhausted: the client holds as many as it may.
        """
        if self._free < 1:
            raise Unavailable(CROWDED, "TOO_MANY_LARGE_ORDERS", retry_after=RETRY_SECONDS)
        if not self._own.take(client):
            raise self._own.refusal()
        self._free -= 1
