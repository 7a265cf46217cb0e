"""Bounds how many orders with whole pictures in their JSON are in memory at once; others are not touched."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis.errors import Unavailable

RETRY_SECONDS = 5.0  # an order keeps its place until it is answered
CROWDED = "Too many large orders are being read at the moment. Upload the picture and order with its URL, or try again."


class LargeOrders:
    """Lets only `places` bodies of more than `threshold` bytes in at once, below the given paths."""

    def __init__(self, app: ASGIApp, threshold: int, places: int, paths: Sequence[str]) -> None:
        self._app = app
        self._threshold = threshold
        self._free = places
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; it takes a place once its body turns out to be large, and leaves it with its answer."""
        if scope["path"].startswith(self._paths):
            await self._watched(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0

        async def receiver() -> Message:
            nonlocal size
            message = await receive()
            small, size = size <= self._threshold, size + len(message.get("body", b""))
            if small and size > self._threshold:
                self._take()
            return message

        try:
            await self._app(scope, receiver, send)
        finally:
            self._free += size > self._threshold

    def _take(self) -> None:
        """Take a place. One is taken even when none is free, since its holder gives it back in any case."""
        self._free -= 1
        if self._free < 0:
            raise Unavailable(CROWDED, "TOO_MANY_LARGE_ORDERS", retry_after=RETRY_SECONDS)
