"""Sends the bytes of stored objects: streamed from storage, with validators, and nothing a browser could run."""

from collections.abc import AsyncIterator
from http import HTTPStatus

from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clients import stubs
from services.chassis import preconditions

SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox"}


async def sent(request: Request, stored: storagepb.Object, headers: dict[str, str]) -> Response:
    """An object, or the part of it that the client wants, as the answer; 304 when the client holds it already.

    Its first bytes are here before the answer begins.

    Raises:
        FailedPrecondition: the client wants another object.
        OutOfRange: it wants a part that lies beyond the end.
    """
    given, etag = conditions(request), f'"{stored.sha256}"'
    marked = {"ETag": etag, **SAFE, **headers}
    if status := preconditions.check(request.method, given, etag):
        return Response(status_code=status, headers=marked)
    part = preconditions.part(request.method, given, etag, stored.size_bytes)
    status, partial = HTTPStatus.OK, {}
    if part:
        status, partial = HTTPStatus.PARTIAL_CONTENT, preconditions.of_part(part, stored.size_bytes)
    span = part or range(stored.size_bytes)
    sized = {"Accept-Ranges": "bytes", "Content-Length": str(len(span)), **partial, **marked}
    if request.method == "HEAD":
        return Response(headers=sized, media_type=stored.content_type)
    wanted = storagepb.ReadObjectRequest(name=stored.name, offset=span.start, limit=len(span))
    pieces = aiter(stubs.of(request).storage.ReadObject(wanted))
    first = await anext(pieces, storagepb.ReadObjectResponse())
    return StreamingResponse(chunks(first, pieces), status, headers=sized, media_type=stored.content_type)


def conditions(request: Request) -> preconditions.Headers:
    """The headers of a request; the lines of one header as one text."""
    return lambda name: ", ".join(request.headers.getlist(name))


async def chunks(
    first: storagepb.ReadObjectResponse, rest: AsyncIterator[storagepb.ReadObjectResponse]
) -> AsyncIterator[bytes]:
    """The bytes of the messages."""
    yield first.chunk
    async for piece in rest:
        yield piece.chunk
