"""The ASGI app and its server: the route table, the request log, the error handlers."""

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

from services.chassis.addresses import Address
from services.chassis.errors import KawaiiError, NotFound
from services.sandbox.families import FAMILIES
from services.sandbox.files import LINKS
from services.sandbox.refusals import RefusalError
from services.sandbox.routes import control, files
from services.sandbox.routes.generation import create_handler, credit, record_handler
from services.sandbox.routes.messages import TRANSPORT, Components, Plain, components, refused

ROUTES: list[BaseRoute] = [
    *(
        Route(path, create_handler(family), methods=["POST"])
        for family in FAMILIES.values()
        for path in family.create_paths
    ),
    *(Route(path, record_handler(family)) for family in FAMILIES.values() for path in family.record_paths),
    Route("/api/v1/gpt4o-image/download-url", files.gpt4o_download_url, methods=["POST"]),
    Route("/api/v1/common/download-url", files.download_url, methods=["POST"]),
    Route("/api/v1/chat/credit", credit),
    Route("/api/file-base64-upload", files.base64_upload, methods=["POST"]),
    Route("/api/file-stream-upload", files.stream_upload, methods=["POST"]),
    Route("/api/file-url-upload", files.url_upload, methods=["POST"]),
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
    "http": "services.sandbox.app:TransportProtocol",
    "loop": "asyncio",
    "ws": "none",
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_graceful_shutdown": 5,  # running requests may finish; scripted hangs may not hold the stack
}
UNLOGGED = ("/sandbox/", "/healthz")


class RequestLog:
    """Logs each request to KIE's API, with the code in the answer's body; status 0 means that there was no answer."""

    def __init__(self, app: ASGIApp, parts: Components) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on and reads status and code from the messages of the answer."""
        if scope["type"] != "http" or scope["path"].startswith(UNLOGGED):
            await self._app(scope, receive, send)
            return
        seen: dict[str, Any] = {"status": 0, "code": None}

        async def watched(message: Message) -> None:
            seen.update(answered(message))
            await send(message)

        await self._app(scope, receive, watched)
        now_ms = self._parts.clock.now_ms()
        self._parts.store.add_request(now_ms, scope["method"], scope["path"], seen["code"], seen["status"])


def answered(message: Message) -> dict[str, Any]:
    """The status or the body's code that a message of an answer holds."""
    if message["type"] == "http.response.start":
        return {"status": message["status"]}
    body = message.get("body", b"")
    return {"code": code_in(body)} if body.startswith(b"{") else {}


def code_in(body: bytes) -> int | None:
    """The code in a JSON body; None in a mangled one."""
    try:
        code = json.loads(body).get("code")
    except ValueError:
        return None
    return code if isinstance(code, int) else None


class TransportProtocol(HttpToolsProtocol):
    """Gives the transport to the app as an ASGI extension: scripted resets need it, and ASGI cannot express them."""

    def on_message_begin(self) -> None:
        """Starts a request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


async def on_refusal(request: Request, error: Exception) -> Response:
    """Answers a refusal in KIE's envelope."""
    assert isinstance(error, RefusalError)  # noqa: S101  Starlette calls this for nothing else, and types it so
    return refused(error, components(request).store.switches())


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answers unknown paths and wrong methods in KIE's envelope."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Plain({"code": status, "msg": str(error), "data": None}, status)


async def on_control_error(_request: Request, error: Exception) -> Response:
    """Answers a wrong control request with a sentence."""
    return Plain({"error": str(error)}, 404 if isinstance(error, NotFound) else 400)


def make_app(parts: Components) -> Starlette:
    """The app over the process's components."""
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RequestLog, parts=parts)],
        exception_handlers={
            RefusalError: on_refusal,
            KawaiiError: on_control_error,
            HTTPException: on_http_error,
        },
    )
    app.state.components = parts
    return app


def make_server(app: Starlette, address: Address) -> uvicorn.Server:
    """The server of the app. Its control routes ask for no key, so only loopback and test hosts may reach it."""
    return uvicorn.Server(uvicorn.Config(app, address.host, address.port, **SERVER_OPTIONS))
