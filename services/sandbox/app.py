"""The one route table, what is written down about each request, and the wording of errors that no door words."""

import json
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis.errors import KawaiiError, NotFound
from services.chassis.town import LOOPBACK
from services.sandbox.archive import LINKS
from services.sandbox.doors import FAMILIES, common, control, files, uploads
from services.sandbox.doors.desk import Desk
from services.sandbox.doors.generation import creator, on_refusal, reader
from services.sandbox.doors.replies import TRANSPORT, Plain
from services.sandbox.model import RefusalError

ROUTES: list[BaseRoute] = [
    *(Route(path, creator(family), methods=["POST"]) for family in FAMILIES.values() for path in family.create_paths),
    *(Route(path, reader(family)) for family in FAMILIES.values() for path in family.record_paths),
    Route("/api/v1/gpt4o-image/download-url", common.gpt4o_download_url, methods=["POST"]),
    Route("/api/v1/common/download-url", common.download_url, methods=["POST"]),
    Route("/api/v1/chat/credit", common.credit),
    Route("/api/file-base64-upload", uploads.base64_upload, methods=["POST"]),
    Route("/api/file-stream-upload", uploads.stream_upload, methods=["POST"]),
    Route("/api/file-url-upload", uploads.url_upload, methods=["POST"]),
    *(Route(f"/{prefix}/{{path:path}}", files.result) for prefix in ("s", "r", "workers")),
    Route(f"/{LINKS}/{{path:path}}", files.signed),
    Route("/kieai/{path:path}", files.upload),
    Route("/sandbox/ledger", control.ledger),
    Route("/sandbox/tasks/{id}", control.task),
    Route("/sandbox/tasks/{id}/callback", control.call_back, methods=["POST"]),
    Route("/sandbox/requests", control.requests),
    Route("/sandbox/script", control.scripts),
    Route("/sandbox/script", control.add_script, methods=["POST"]),
    Route("/sandbox/script", control.clear_scripts, methods=["DELETE"]),
    Route("/sandbox/switches", control.switches, methods=["GET", "POST"]),
    Route("/sandbox/clock", control.clock, methods=["POST"]),
    Route("/sandbox/accounts/{account}", control.account, methods=["POST"]),
    Route("/sandbox/reset", control.reset, methods=["POST"]),
    Route("/healthz", control.healthz),
]
SERVER_OPTIONS: dict[str, Any] = {
    "http": "services.sandbox.app:OpenProtocol",
    "loop": "asyncio",
    "ws": "none",
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": 5,  # running requests may finish; scripted hangs may not hold the town
}
UNLOGGED = ("/sandbox/", "/healthz")


class RequestLog:
    """Writes each of KIE's requests into the notebook, with the code in its body; status 0 means no answer."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch what is sent."""
        if scope["type"] != "http" or scope["path"].startswith(UNLOGGED):
            await self._app(scope, receive, send)
            return
        seen: dict[str, Any] = {"status": 0, "code": None}

        async def watched(message: Message) -> None:
            seen.update(glance(message))
            await send(message)

        await self._app(scope, receive, watched)
        now, notebook = self._desk.sandbox.now_ms(), self._desk.store.notebook
        notebook.note_request(now, scope["method"], scope["path"], seen["code"], seen["status"])


def glance(message: Message) -> dict[str, Any]:
    """What a message tells of status and body code."""
    if message["type"] == "http.response.start":
        return {"status": message["status"]}
    body = message.get("body", b"")
    return {"code": code_in(body)} if body.startswith(b"{") else {}


def code_in(body: bytes) -> int | None:
    """The code in a JSON body; a mangled reply has none."""
    try:
        code = json.loads(body).get("code")
    except ValueError:
        return None
    return code if isinstance(code, int) else None


class OpenProtocol(HttpToolsProtocol):
    """Hands the transport to the app as an ASGI extension: scripted resets need it, and ASGI has no word for them."""

    def on_message_begin(self) -> None:
        """Start a request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Word unknown paths and wrong methods in KIE's envelope."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Plain({"code": status, "msg": str(error), "data": None}, status)


async def on_control_error(_request: Request, error: Exception) -> Response:
    """Tell a tester what was wrong."""
    return Plain({"error": str(error)}, 404 if isinstance(error, NotFound) else 400)


def make_app(desk: Desk) -> Starlette:
    """Put the app together."""
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RequestLog, desk=desk)],
        exception_handlers={
            RefusalError: on_refusal,
            KawaiiError: on_control_error,
            HTTPException: on_http_error,
        },
    )
    app.state.desk = desk
    return app


def make_server(app: Starlette, port: int) -> uvicorn.Server:
    """The server of the app, on loopback only: its control doors ask for no key."""
    return uvicorn.Server(uvicorn.Config(app, LOOPBACK, port, **SERVER_OPTIONS))
