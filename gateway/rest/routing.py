"""One route for a path with all of its methods, so that 405 can name them and the first path that fits decides."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import Receive, Scope, Send

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
