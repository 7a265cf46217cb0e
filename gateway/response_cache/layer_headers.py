"""The headers that the middleware writes on every response, collected once for responses that skip the middleware."""

from collections.abc import Mapping, Sequence

from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from gateway.response_cache.byte_cache import Headers

MAX_ORIGINS = 1000  # anybody may invent others; a site has a handful
OF_BODY = b"content-length"


class LayerHeaders:
    """Headers by the Origin of the asker, as these layers have them around an answer of these headers."""

    def __init__(self, layers: Sequence[Middleware], media_type: str, headers: Mapping[str, str]) -> None:
        app: ASGIApp = Response(headers=headers, media_type=media_type)
        for layer, args, kwargs in reversed(layers):
            app = layer(app, *args, **kwargs)
        self._app = app
        self._known: dict[bytes, Headers] = {}

    async def of(self, origin: bytes) -> Headers:
        """The headers for a page of this origin, or for who named none."""
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
