"""What all routes share: the process's components, bounded JSON bodies, KIE's envelope, connections that break."""

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from services.sandbox.accounts import Accounts
from services.sandbox.callbacks import Sender
from services.sandbox.files import Files
from services.sandbox.model import Json, Switches
from services.sandbox.refusals import BLOCKED, Page, RefusalError
from services.sandbox.store import Clock, Store
from services.sandbox.tasks import Tasks

MAX_JSON_BYTES = 16 * 1024 * 1024  # a 10 MB picture in base64, which KIE's upload page names as the most, and some room
TRANSPORT = "kawaii.sandbox.transport"  # the ASGI extension under which the server's protocol class gives the transport
HTTP_CODES = range(400, 600)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST, not FIN


@dataclass(frozen=True)
class Components:
    """Everything that a route may need."""

    store: Store
    clock: Clock
    accounts: Accounts
    tasks: Tasks
    files: Files
    sender: Sender


def components(request: Request) -> Components:
    """The components of the process that serves a request."""
    found: Components = request.app.state.components
    return found


def account_of(request: Request) -> str:
    """The name of the account that a request's key belongs to.

    Raises:
        RefusalError: 401 without a good key.
    """
    return components(request).accounts.authenticate(request.headers.get("authorization", ""))


async def body_of(request: Request) -> Json:
    """Reads a JSON object of at most MAX_JSON_BYTES.

    Raises:
        RefusalError: 400 for anything else.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_JSON_BYTES:
            raise RefusalError(400, "The request body is too large")
    try:
        body = json.loads(bytes(data))
    except ValueError:
        raise RefusalError(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise RefusalError(400, "The request body is not a JSON object")
    return body


class Plain(JSONResponse):
    """JSON as KIE writes it: unicode unescaped, decimals as numbers."""

    def render(self, content: Any) -> bytes:
        """Encodes a body."""
        return json.dumps(content, ensure_ascii=False, default=float).encode()


class Reset(Response):
    """No answer: the peer sees a connection reset, as when a proxy dies."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Aborts the transport, then waits until the server has noticed, else the server would answer 500."""
        del send
        transport = scope["extensions"][TRANSPORT]["transport"]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Truncated(Response):
    """Half of a body whose whole length was promised, then the end of the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends half, closes, and waits until the server has noticed."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body)[: len(self.body) // 2], "more_body": True})
        scope["extensions"][TRANSPORT]["transport"].close()
        while (await receive())["type"] != "http.disconnect":
            pass


def ok(data: object) -> Response:
    """KIE's envelope of a success."""
    return Plain({"code": 200, "msg": "success", "data": data})


def refused(error: RefusalError, switches: Switches) -> Response:
    """KIE's envelope of a refusal: HTTP 200 as callers report, or the code as HTTP status when that is switched on."""
    status = error.code if switches.http_mode == "status" and error.code in HTTP_CODES else 200
    return Plain({"code": error.code, "msg": error.message, "data": None}, status)


def page(answer: Page) -> Response:
    """An answer that KIE's own code did not write."""
    if isinstance(answer.body, dict):
        return Plain(answer.body, answer.status, answer.headers)
    return Response(answer.body, answer.status, answer.headers, answer.media_type)


def require_user_agent(request: Request) -> Response | None:
    """The refusal of clients without a User-Agent by the proxy before KIE's file hosts; None for all others."""
    return None if request.headers.get("user-agent") else page(BLOCKED)
