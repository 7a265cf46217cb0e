"""Serves public files over HTTP straight from disk, and takes the PUTs of upload links; Envoy routes /files/ here."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from services.chassis.errors import (
    AlreadyExists,
    InvalidArgument,
    KawaiiError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.names import is_key
from services.storage.model import PICTURE_TYPES
from services.storage.ports import PublicFolder

FILES = "/files/"
UPLOADS = "/files/-/uploads/"  # no key begins with a dash, so the two never meet
PUBLIC_PREFIXES = ("uploads/", "generated/", "kie-downloads/", "artworks/")
CONTENT_TYPES = {kind.extension: kind.content_type for kind in PICTURE_TYPES} | {"jpeg": "image/jpeg"}  # old keys too
UNKNOWN_TYPE = "application/octet-stream"
CLOSE_SECONDS = 5.0  # how long downloads may go on when the service stops
CHUNK_BYTES = 256 * 1024  # performance.md 4

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag",
}
PREFLIGHT = CORS | {
    "Access-Control-Allow-Methods": "GET, HEAD, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Range, If-None-Match",
    "Access-Control-Max-Age": "86400",
}
FILE_HEADERS = CORS | {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
STATUSES: dict[type[KawaiiError], HTTPStatus] = {
    InvalidArgument: HTTPStatus.BAD_REQUEST,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    AlreadyExists: HTTPStatus.CONFLICT,
    ResourceExhausted: HTTPStatus.INSUFFICIENT_STORAGE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
REASON_STATUSES = {"FILE_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE}


class Inbox(Protocol):
    """What takes the bytes that come with an upload link's token."""

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Take them, or raise a KawaiiError."""


def failure(status: HTTPStatus, code: str, sentence: str) -> web.Response:
    """A failure as every front door of the town words it."""
    body = {"success": False, "error": sentence, "code": code, "message": sentence}
    return web.json_response(body, status=status, headers=CORS | {"Cache-Control": "no-store"})


def key_of(path: str) -> str:
    """The public key that a raw path names; empty for any other path."""
    key = path.removeprefix(FILES)
    return key if path.startswith(FILES) and is_key(key) and key.startswith(PUBLIC_PREFIXES) else ""


class Listener:
    """The HTTP side of the storage service on one host:port."""

    def __init__(self, address: str, folder: PublicFolder, inbox: Inbox) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._folder = folder
        self._inbox = inbox

    async def run(self) -> None:
        """Listen until cancelled."""
        runner = web.AppRunner(self.app(), access_log=None, handle_signals=False, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, int(self._port)).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def app(self) -> web.Application:
        """The application, for a server of any kind."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._routed(request, request.rel_url.raw_path)
        except KawaiiError as error:
            status = REASON_STATUSES.get(error.reason) or STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
            return failure(status, error.reason, error.message)

    async def _routed(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=PREFLIGHT)
        if request.method in ("GET", "HEAD"):
            return await self._sent(key_of(path))
        if request.method == "PUT" and path.startswith(UPLOADS):
            return await self._received(request, path.removeprefix(UPLOADS))
        return failure(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Files can be read with GET or HEAD only.")

    async def _sent(self, key: str) -> web.StreamResponse:
        path = await self._folder.path(key) if key else None
        if path is None:
            raise NotFound("There is no such file.")
        content_type = CONTENT_TYPES.get(key.rpartition(".")[2], UNKNOWN_TYPE)
        return web.FileResponse(path, CHUNK_BYTES, headers=FILE_HEADERS | {"Content-Type": content_type})

    async def _received(self, request: web.Request, token: str) -> web.Response:
        await self._inbox.receive(token, request.content.iter_chunked(CHUNK_BYTES))
        return web.json_response({"success": True}, status=HTTPStatus.CREATED, headers=CORS)
