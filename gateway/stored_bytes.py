"""Sends the bytes of stored objects: streamed from storage, with validators, and nothing a browser could run."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway import clients

SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox"}


async def sent(request: Request, stored: storagepb.Object, headers: dict[str, str]) -> Response:
    """An object as the answer; 304 when the client holds it already. Its first bytes are here before it begins."""
    etag = f'"{stored.sha256}"'
    marked = {"ETag": etag, **SAFE, **headers}
    if holds(request, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=marked)
    sized = {"Content-Length": str(stored.size_bytes), **marked}
    if request.method == "HEAD":
        return Response(headers=sized, media_type=stored.content_type)
    wanted = storagepb.ReadObjectRequest(name=stored.name)
    pieces = aiter(clients.of(request).storage.ReadObject(wanted))
    first = await anext(pieces, storagepb.ReadObjectResponse())
    return StreamingResponse(chunks(first, pieces), headers=sized, media_type=stored.content_type)


def holds(request: Request, etag: str) -> bool:
    """Whether If-None-Match names what we would send."""
    held = request.headers.get("if-none-match", "")
    return held == "*" or etag in (tag.strip().removeprefix("W/") for tag in held.split(","))


async def chunks(
    first: storagepb.ReadObjectResponse, rest: AsyncIterator[storagepb.ReadObjectResponse]
) -> AsyncIterator[bytes]:
    """The bytes of the messages."""
    yield first.chunk
    async for piece in rest:
        yield piece.chunk
