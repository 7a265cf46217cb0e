"""Refuses a body that is too large: by its declared length before a byte is read, else once the limit is passed.

Starlette's own limit answers in plain text, and every answer of ours is JSON.
"""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.rest import errors


class BodyLimit:
    """Limits bodies to `default` bytes, and below the paths of `limits` to their own."""

    def __init__(self, app: ASGIApp, default: int, limits: Mapping[str, int]) -> None:
        self._app = app
        self._default = default
        self._limits = tuple(limits.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or pass it on with its body counted."""
        limit = self._limit(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            await errors.answer(errors.too_large(limit))(scope, receive, send)
        else:
            await self._app(scope, limited(receive, limit), send)

    def _limit(self, path: str) -> int:
        return next((limit for prefix, limit in self._limits if path.startswith(prefix)), self._default)


def limited(receive: Receive, limit: int) -> Receive:
    """A `receive` that raises InvalidArgument (PAYLOAD_TOO_LARGE) at the first byte beyond the limit."""
    size = 0

    async def receiver() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise errors.too_large(limit)
        return message

    return receiver
