"""Serves public files over HTTP wherever they lie, and takes the PUTs of upload links; Envoy sends /files/ here."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from math import ceil
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
from services.storage.conditions import TAG, decided, part_of, tagged
from services.storage.model import PICTURE_TYPES, Stat
from services.storage.ports import Backend

FILES = "/files/"
UPLOADS = "/files/-/uploads/"  # no key begins with a dash, so the two never meet
PUBLIC_PREFIXES = ("uploads/", "generated/", "kie-downloads/", "artworks/", "variants/")
CONTENT_TYPES = {kind.extension: kind.content_type for kind in PICTURE_TYPES} | {"jpeg": "image/jpeg"}  # old keys too
UNKNOWN_TYPE = "application/octet-stream"
BEGUN = web.RequestKey("begun", bool)  # its bytes flow already
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


def failure(status: HTTPStatus, code: str, sentence: str, retry_after: float | None = None) -> web.Response:
    """A failure as every front door of the town words it."""
    body = {"success": False, "error": sentence, "code": code, "message": sentence}
    later = {"Retry-After": str(ceil(retry_after))} if retry_after else {}
    return web.json_response(body, status=status, headers=CORS | {"Cache-Control": "no-store"} | later)


def key_of(path: str) -> str:
    """The public key that a raw path names; empty for any other path."""
    key = path.removeprefix(FILES)
    return key if path.startswith(FILES) and is_key(key) and key.startswith(PUBLIC_PREFIXES) else ""


def cut_off(request: web.Request) -> ConnectionResetError:
    """End an answer that cannot be completed so that nobody takes it for whole."""
    if request.transport:
        request.transport.abort()
    return ConnectionResetError("the bytes of the object broke off")


class Listener:
    """The HTTP side of the storage service on one host:port."""

    def __init__(self, address: str, backend: Backend, inbox: Inbox) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._backend = backend
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
        app.on_response_prepare.append(tagged)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._routed(request, request.rel_url.raw_path)
        except KawaiiError as error:
            if BEGUN in request:
                raise cut_off(request) from error
            status = REASON_STATUSES.get(error.reason) or STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
            return failure(status, error.reason, error.message, error.retry_after)

    async def _routed(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=PREFLIGHT)
        if request.method in ("GET", "HEAD"):
            return await self._sent(request, key_of(path))
        if request.method == "PUT" and path.startswith(UPLOADS):
            return await self._received(request, path.removeprefix(UPLOADS))
        return failure(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Files can be read with GET or HEAD only.")

    async def _sent(self, request: web.Request, key: str) -> web.StreamResponse:
        stat = await self._backend.stat(key) if key else None
        if stat is None:
            raise NotFound("There is no such file.")
        request[TAG] = stat.sha256
        if status := decided(request, stat.sha256):
            return web.Response(status=status, headers=FILE_HEADERS)
        headers = FILE_HEADERS | {"Content-Type": CONTENT_TYPES.get(key.rpartition(".")[2], UNKNOWN_TYPE)}
        path = await self._backend.path(key)
        if path and request.if_match is None:  # aiohttp would compare it with a validator of its own
            return web.FileResponse(path, CHUNK_BYTES, headers=headers)
        return await self._streamed(request, key, stat, headers)

    async def _streamed(
        self, request: web.Request, key: str, stat: Stat, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Pass on the bytes of an object that is no file here."""
        part = part_of(request, stat.size)
        if part is None:
            span = {"Content-Range": f"bytes */{stat.size}"}
            return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=FILE_HEADERS | span)
        response = web.StreamResponse(status=part.status, headers=headers | part.headers)
        response.content_length = len(part.span)
        if request.method == "GET" and part.span:
            await self._pour(request, response, key, part.span)
        return response

    async def _pour(self, request: web.Request, response: web.StreamResponse, key: str, span: range) -> None:
        """Begin the answer with the first bytes, so that a place that fails can still be told as a failure."""
        async for chunk in self._backend.read(key, span.start, len(span)):
            if not response.prepared:
                request[BEGUN] = True
                await response.prepare(request)
            await response.write(chunk)

    async def _received(self, request: web.Request, token: str) -> web.Response:
        await self._inbox.receive(token, request.content.iter_chunked(CHUNK_BYTES))
        return web.json_response({"success": True}, status=HTTPStatus.CREATED, headers=CORS)
