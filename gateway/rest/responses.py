"""Routes and what they answer with: the endpoints of a path by method, JSON by orjson, and server-sent events.

One route holds all methods of a path, so that 405 can name them and the first path that fits decides.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from hashlib import sha256

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, request_response
from starlette.types import Receive, Scope, Send

from services.chassis import preconditions

NO_STORE = {"Cache-Control": "no-store"}

HEARTBEAT = b": heartbeat\n\n"  # a comment, which clients skip; it keeps proxies from taking silence for death
RETRY = b"retry: 1000\n\n"  # milliseconds before a client that lost us comes back: the launcher restarts us in less
ID_DIGITS = 16


Endpoint = Callable[[Request], Awaitable[Response]]


class Methods:
    """The ASGI application of one path; HEAD is answered like GET, and the server drops the body."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._apps = {method: request_response(endpoint) for method, endpoint in endpoints.items()}
        if "GET" in self._apps:
            self._apps["HEAD"] = self._apps["GET"]

    @property
    def names(self) -> list[str]:
        """The methods that this path takes."""
        return sorted(self._apps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the endpoint of the request's method.

        Raises:
            HTTPException: 405, with the methods there are.
        """
        if scope["method"] not in self._apps:
            raise HTTPException(405, headers={"Allow": ", ".join(self.names)})
        await self._apps[scope["method"]](scope, receive, send)


def route(path: str, **endpoints: Endpoint) -> Route:
    """Make one line of a route table: the endpoints of a path by their methods, for example GET=read, POST=create."""
    return Route(path, Methods(endpoints))


def template(scope: Scope) -> str:
    """The path of the table's line that answered, for example /api/share/{id}; empty when none fitted."""
    return str(getattr(scope.get("route"), "path", ""))


class Json(Response):
    """A body of JSON; orjson renders it three times faster than the standard library."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the content."""
        return orjson.dumps(content)


def conditions(request: Request) -> preconditions.Headers:
    """A reader of a request's headers, by name, for preconditions; the lines of one header as one text."""
    return lambda name: ", ".join(request.headers.getlist(name))


class EventStream(StreamingResponse):
    """Sends the frames as they come. `held` is closed at the end, also when the client leaves in the middle."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        # The last header keeps an nginx before us from collecting the frames.
        super().__init__(frames, headers={**NO_STORE, "X-Accel-Buffering": "no"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames."""
        async with self._held:
            await super().__call__(scope, receive, send)


def event_data(content: Mapping[str, object]) -> bytes:
    """The content of an event as one line of JSON."""
    return orjson.dumps(content)


def event_id(data: bytes) -> str:
    """The id of an event, a digest of its data: a client that comes back sends the last id, after any restart."""
    return sha256(data).hexdigest()[:ID_DIGITS]


def event_frame(data: bytes) -> bytes:
    """One event. It has no name, so that EventSource.onmessage gets it."""
    return b"id: %s\ndata: %s\n\n" % (event_id(data).encode(), data)
