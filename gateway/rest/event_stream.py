"""Server-sent events: the frames, and a response that frees its resources however it ends."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from hashlib import sha256

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.rest.responses import NO_STORE

HEARTBEAT = b": heartbeat\n\n"  # a comment, which clients skip; it keeps proxies from taking silence for death
RETRY = b"retry: 1000\n\n"  # milliseconds before a client that lost us comes back: the launcher restarts us in less
ID_DIGITS = 16


class EventStream(StreamingResponse):
    """The frames as they come. `held` is closed at the end, also when the client leaves in the middle."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        # The last header asks nginx, where one stands before us, not to collect the frames.
        super().__init__(frames, headers={**NO_STORE, "X-Accel-Buffering": "no"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        async with self._held:
            await super().__call__(scope, receive, send)


def encoded(content: Mapping[str, object]) -> bytes:
    """The content as one line."""
    return orjson.dumps(content)


def id_of(data: bytes) -> str:
    """A digest as the event's id: it tells whether a client that comes back has seen just this, after any restart."""
    return sha256(data).hexdigest()[:ID_DIGITS]


def frame(data: bytes) -> bytes:
    """One event. It has no name, so that EventSource.onmessage gets it."""
    return b"id: %s\ndata: %s\n\n" % (id_of(data).encode(), data)
