"""The shapes of an answer: KIE's envelope, a gateway's page, and connections that end without one."""

import json
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from services.sandbox.model import Json, RefusalError, Switches
from services.sandbox.refusals import Page

TRANSPORT = "kawaii.sandbox.transport"  # the ASGI extension under which our protocol class hands out the transport
HTTP_CODES = range(400, 600)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN
BLOCKED = Page(403, "error code: 1010", media_type="text/plain")


class Plain(JSONResponse):
    """JSON as KIE writes it: unicode unescaped; decimals as numbers."""

    def render(self, content: Any) -> bytes:
        """Encode a body."""
        return json.dumps(content, ensure_ascii=False, default=float).encode()


class Reset(Response):
    """No answer: the peer sees a connection reset, as when a gateway dies."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Abort the transport, then wait until the server has seen it, else it would answer 500 itself."""
        del send
        transport = scope["extensions"][TRANSPORT]["transport"]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Truncated(Response):
    """Half of a body whose whole length was promised, then the end of the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half, close, and wait until the server has seen it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2], "more_body": True})
        scope["extensions"][TRANSPORT]["transport"].close()
        while (await receive())["type"] != "http.disconnect":
            pass


def ok(data: object) -> Response:
    """KIE's envelope of a success."""
    return Plain({"code": 200, "msg": "success", "data": data})


def refused(error: RefusalError, switches: Switches, **more: object) -> Response:
    """KIE's envelope of a refusal: HTTP 200 as callers saw it, or the true status as its pages have it (kie.md 6.2)."""
    status = error.code if switches.http_mode == "status" and error.code in HTTP_CODES else 200
    return Plain({"code": error.code, "msg": error.message, "data": None, **more}, status)


def page(answer: Page) -> Response:
    """An answer that KIE's own code did not write."""
    if isinstance(answer.body, dict):
        return Plain(answer.body, answer.status, answer.headers)
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


def require_user_agent(request: Request) -> Response | None:
    """The edge's refusal of clients that do not name themselves (kie.md 5.3)."""
    return None if request.headers.get("user-agent") else page(BLOCKED)


def created(task_id: str, mangled: str) -> Response:
    """The answer to an accepted create, or what is left of it."""
    good: Json = {"code": 200, "msg": "success", "data": {"taskId": task_id}}
    broken = {
        "badjson": Response(json.dumps(good)[:-20], media_type="application/json"),
        "noid": Plain(good | {"data": {}}),
        "emptyreply": Response(b"", media_type="application/json"),
    }
    return broken.get(mangled) or Plain(good)
