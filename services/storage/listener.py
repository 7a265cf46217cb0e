"""The public HTTP listener for /files/: serves objects and takes the PUTs of upload links."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from io import BufferedReader
from math import ceil
from pathlib import Path
from typing import Protocol

from aiohttp import web

from services.chassis import preconditions
from services.chassis.addresses import Address
from services.chassis.client_address import HEADER, ClientLimit, client_of
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    KawaiiError,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.health import READY_PATH, Readiness
from services.chassis.names import is_key
from services.storage.model import PICTURE_TYPES
from services.storage.ports import CHUNK_BYTES, Backend

FILES = "/files/"
UPLOADS = "/files/-/uploads/"  # no key begins with a dash, so the two never collide
PUBLIC_PREFIXES = ("uploads/", "generated/", "kie-downloads/", "artworks/", "variants/")
CONTENT_TYPES = {kind.extension: kind.content_type for kind in PICTURE_TYPES} | {"jpeg": "image/jpeg"}  # old keys too
UNKNOWN_TYPE = "application/octet-stream"
BEGUN = web.RequestKey("begun", bool)  # the response has begun
CLOSE_SECONDS = 5.0  # how long downloads may go on when the service stops
# Connections that wait while this process is busy: all that Envoy opens at once. Beyond them the kernel drops attempts.
BACKLOG = 1024
HEADER_BYTES = 64 * 1024  # above what Envoy lets through, so that Envoy is who refuses long headers, in JSON
NO_CODING = ("", "identity")
# Of the 512 downloads and 64 uploads that Envoy lets through; a page by HTTP/2 requests a hundred files at once.
READS_PER_CLIENT, UPLOADS_PER_CLIENT = 128, 16

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag",
}
PREFLIGHT = CORS | {
    "Access-Control-Allow-Methods": "GET, HEAD, PUT, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Range, If-Match, If-None-Match, If-Range",
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
    OutOfRange: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    FailedPrecondition: HTTPStatus.PRECONDITION_FAILED,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    AlreadyExists: HTTPStatus.CONFLICT,
    ResourceExhausted: HTTPStatus.INSUFFICIENT_STORAGE,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
REASON_STATUSES = {
    "TOO_MANY_REQUESTS": HTTPStatus.TOO_MANY_REQUESTS,
    "FILE_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
}


class UploadReceiver(Protocol):
    """Receives the bytes that are PUT to an upload link."""

    async def receive(self, token: str, chunks: AsyncIterator[bytes]) -> None:
        """Store the bytes, or raise a KawaiiError."""


def failure(status: HTTPStatus, error: KawaiiError) -> web.Response:
    """An error response in the form that all HTTP endpoints of the stack use; never cacheable."""
    body = {"success": False, "error": error.message, "code": error.reason, "message": error.message}
    headers = CORS | {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if error.retry_after:
        headers["Retry-After"] = str(ceil(error.retry_after))
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["Content-Range"] = f"bytes */{error.metadata['size']}"
    return web.json_response(body, status=status, headers=headers)


def key_of(path: str) -> str:
    """The public key that a raw path names; empty for any other path."""
    key = path.removeprefix(FILES)
    return key if path.startswith(FILES) and is_key(key) and key.startswith(PUBLIC_PREFIXES) else ""


def cut_off(request: web.Request) -> ConnectionResetError:
    """Abort the connection of a response that cannot be completed, so that nobody takes it for whole."""
    if request.transport:
        request.transport.abort()
    return ConnectionResetError("the bytes of the object broke off")


async def no_expectation(request: web.Request) -> web.Response | None:
    """Answer `Expect: 100-continue` by requesting the body; refuse any other Expect (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").strip().lower() != "100-continue":
        sentence = "The Expect header asks for something that the server does not do. Send the request without it."
        return failure(HTTPStatus.EXPECTATION_FAILED, InvalidArgument(sentence, "EXPECTATION_FAILED"))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


def given(request: web.Request) -> preconditions.Headers:
    """Look up a request's headers; repeated ones are joined."""
    return lambda name: ", ".join(request.headers.getall(name, []))


class Listener:
    """The HTTP listener of the storage service at one address; by TLS with a context, which says who may connect."""

    def __init__(
        self,
        address: Address,
        backend: Backend,
        receiver: UploadReceiver,
        *,
        readiness: Readiness,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._context = context
        self._readiness = readiness
        self._backend = backend
        self._receiver = receiver
        self._reads = ClientLimit(READS_PER_CLIENT, "files")
        self._uploads = ClientLimit(UPLOADS_PER_CLIENT, "uploads")

    async def run(self) -> None:
        """Listen until cancelled."""
        runner = await self.started()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def started(self) -> web.AppRunner:
        """The application, served until its `cleanup`."""
        runner = self._runner()
        await runner.setup()
        address, context = self._address, self._context
        await web.TCPSite(runner, address.host, address.port, backlog=BACKLOG, ssl_context=context).start()
        return runner

    def _runner(self) -> web.AppRunner:
        """The aiohttp application; request bodies are not decompressed."""
        app = web.Application()
        app.router.add_get(READY_PATH, self._ready)
        app.router.add_route("*", "/{path:.*}", self._answer, expect_handler=no_expectation)
        return web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=CLOSE_SECONDS,
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )

    async def _ready(self, _: web.Request) -> web.Response:
        """Tell Envoy whether this process takes requests; its own paths never lead here."""
        status = HTTPStatus.OK if self._readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=status, text=f"{self._readiness.word}\n")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        limit = self._uploads if request.method == "PUT" else self._reads
        try:
            with limit.place(client_of(request.headers.get(HEADER, ""), request.remote or "")):
                return await self._routed(request, request.rel_url.raw_path)
        except KawaiiError as error:
            if BEGUN in request:
                raise cut_off(request) from error
            status = REASON_STATUSES.get(error.reason) or STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
            return failure(status, error)

    async def _routed(self, request: web.Request, path: str) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response(headers=PREFLIGHT)
        if request.method in ("GET", "HEAD"):
            return await self._sent(request, key_of(path))
        if request.method == "PUT" and path.startswith(UPLOADS):
            return await self._received(request, path.removeprefix(UPLOADS))
        refusal = InvalidArgument("Files can be read with GET or HEAD only.", "METHOD_NOT_ALLOWED")
        return failure(HTTPStatus.METHOD_NOT_ALLOWED, refusal)

    async def _sent(self, request: web.Request, key: str) -> web.StreamResponse:
        stat = await self._backend.stat(key) if key else None
        if stat is None:
            raise NotFound("There is no such file.")
        method, headers, etag = request.method, given(request), f'"{stat.sha256}"'
        validated = FILE_HEADERS | {"ETag": etag}
        if status := preconditions.check(method, headers, etag):
            return web.Response(status=status, headers=validated)
        part = preconditions.part(method, headers, etag, stat.size)
        status, partial = HTTPStatus.OK, {}
        if part:
            status, partial = HTTPStatus.PARTIAL_CONTENT, preconditions.of_part(part, stat.size)
        kind = CONTENT_TYPES.get(key.rpartition(".")[2], UNKNOWN_TYPE)
        about = {"Content-Type": kind, "Accept-Ranges": "bytes"}
        response = web.StreamResponse(status=status, headers=validated | about | partial)
        await self._fill(request, response, key, part or range(stat.size))
        return response

    async def _fill(self, request: web.Request, response: web.StreamResponse, key: str, span: range) -> None:
        """Send the bytes of a span: by sendfile from a local file, else as the backend reads them."""
        response.content_length = len(span)
        if request.method == "HEAD" or not span:
            return
        if path := await self._backend.path(key):
            await send_file(request, response, path, span)
        else:
            await self._stream(request, response, key, span)

    async def _stream(self, request: web.Request, response: web.StreamResponse, key: str, span: range) -> None:
        """Start the response with the first bytes, so that a failure before them still gets an error status."""
        async for chunk in self._backend.read(key, span.start, len(span)):
            if not response.prepared:
                request[BEGUN] = True
                await response.prepare(request)
            await response.write(chunk)

    async def _received(self, request: web.Request, token: str) -> web.Response:
        if request.headers.get("Content-Encoding", "").strip().lower() not in NO_CODING:
            sentence = "The file is sent with a Content-Encoding. Send its bytes as they are."
            raise InvalidArgument(sentence, "UNSUPPORTED_MEDIA_TYPE")
        await self._receiver.receive(token, request.content.iter_chunked(CHUNK_BYTES))
        return web.json_response({"success": True}, status=HTTPStatus.CREATED, headers=CORS)


async def send_file(request: web.Request, response: web.StreamResponse, path: Path, span: range) -> None:
    """Send a part of a local file without reading it.

    Raises:
        NotFound: the file has just been deleted.
        ConnectionResetError: the client has left.
    """
    with await asyncio.to_thread(open_file, path) as file:
        await response.prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        await asyncio.get_running_loop().sendfile(transport, file, span.start, len(span))
        await response.write_eof()


def open_file(path: Path) -> BufferedReader:
    """A file to read from. Raises NotFound when there is none."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFound("There is no such file.") from None
