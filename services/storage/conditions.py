"""Reads what a request for a file demands: which validators it knows, and which part of the bytes it wants.

aiohttp does so for local files, by their time of change; here the validator is the hash, the same in every place.
"""

from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from aiohttp.helpers import ETag

TAG = web.RequestKey("tag", str)  # the validator of a request's answer
ANY = "*"


async def tagged(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer about a file the validator that is the same wherever its bytes lie: their hash."""
    if TAG in request and response.status < HTTPStatus.BAD_REQUEST:
        response.etag = request[TAG]


def decided(request: web.Request, sha256: str) -> HTTPStatus | None:
    """The status with which a condition settles the request, without any bytes; None when they are to be sent."""
    if request.if_match is not None and not _matches(request.if_match, sha256):
        return HTTPStatus.PRECONDITION_FAILED
    if request.if_none_match is not None and _matches(request.if_none_match, sha256):
        return HTTPStatus.NOT_MODIFIED
    return None


def _matches(tags: tuple[ETag, ...], sha256: str) -> bool:
    return any(tag.value in (sha256, ANY) for tag in tags)


@dataclass(frozen=True)
class Part:
    """What of an object is sent, and how the answer says so."""

    status: HTTPStatus
    span: range
    headers: dict[str, str]


def part_of(request: web.Request, size: int) -> Part | None:
    """The bytes that a request wants; None when there are none such. Objects never change, so If-Range always holds."""
    whole = {"Accept-Ranges": "bytes"}
    try:
        wanted = request.http_range
    except ValueError:
        return None
    if wanted.start is None:
        return Part(HTTPStatus.OK, range(size), whole)
    span = range(size)[wanted]
    shown = {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{size}"}
    return Part(HTTPStatus.PARTIAL_CONTENT, span, whole | shown) if span else None
