"""Answers the most frequent read, one share, without the middleware, which costs more than the share itself.

Only success is answered here. Whatever fails goes its usual way, where it is logged. The headers that the middleware
would write are collected once for each Origin.
"""

from collections.abc import Callable, Mapping, Sequence

from kawaii.share.v1 import share_pb2 as sharepb
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Scope

from gateway.clients.batched_reads import ShareReads
from gateway.clients.stubs import answered
from gateway.metrics import REQUESTS
from gateway.response_cache.byte_cache import Answer, Headers
from gateway.response_cache.middleware import with_etag
from services.chassis.names import ID, name

MAX_ORIGINS = 1000  # anybody may invent others; a site has a handful
OF_BODY = b"content-length"

PREFIX = "/api/share/"
OTHERS = ("list", "latest")  # paths of their own, which are no ids
SERVED = REQUESTS.labels("/api/share/{id}", "GET", "200")


class LayerHeaders:
    """The headers that these layers write around a response with the given headers, by the Origin of the request."""

    def __init__(self, layers: Sequence[Middleware], media_type: str, headers: Mapping[str, str]) -> None:
        app: ASGIApp = Response(headers=headers, media_type=media_type)
        for layer, args, kwargs in reversed(layers):
            app = layer(app, *args, **kwargs)
        self._app = app
        self._known: dict[bytes, Headers] = {}

    async def of(self, origin: bytes) -> Headers:
        """The headers for a request of this Origin, empty when it named none."""
        if origin not in self._known:
            if len(self._known) == MAX_ORIGINS:
                self._known.clear()
            self._known[origin] = await self._written(origin)
        return self._known[origin]

    async def _written(self, origin: bytes) -> Headers:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"origin", origin)] if origin else []
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
        await self._app(scope, nothing, send)
        return [(name, value) for name, value in sent[0]["headers"] if name != OF_BODY]


async def nothing() -> Message:
    """The body of a request that has none."""
    return {"type": "http.request", "body": b"", "more_body": False}


class FastPath:
    """Answers reads of single shares."""

    def __init__(
        self, reads: ShareReads, layer_headers: LayerHeaders, render: Callable[[sharepb.Share], bytes]
    ) -> None:
        self._reads, self._layer_headers, self._render = reads, layer_headers, render

    async def answer(self, scope: Scope, origin: bytes) -> Answer | None:
        """The response to a read; None when the read is of something else, or failed."""
        share_id = scope["path"].removeprefix(PREFIX)
        if share_id in OTHERS or not ID.fullmatch(share_id):
            return None
        share = await answered(self._reads.get(name("shares", share_id)))
        if share is None:
            return None
        body = self._render(share)
        length = (b"content-length", b"%d" % len(body))
        return with_etag([length, *await self._layer_headers.of(origin)], body, SERVED)
