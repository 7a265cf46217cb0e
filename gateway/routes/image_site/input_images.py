"""Makes sure that a picture given as input has a URL that the provider can fetch."""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from grpc import aio
from kawaii.storage.v1 import storage_pb2 as storagepb
from starlette.requests import Request

from gateway.clients import stubs, uploads
from gateway.rest import request_fields
from gateway.rest.multipart import CHUNK_BYTES
from services.chassis.errors import invalid_field
from services.chassis.status import from_rpc

DATA_URI = re.compile(r"data:[^,;]*(?:;[^,;]+)*;base64,", re.IGNORECASE)
NAME = "pasted"  # a data: URI carries no file name
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS)  # no order was made of it
# Nor was one past a daily quota; one that no account took was, and may be made again.
QUOTA_REACHED = ("RATE_LIMIT", "SITE_QUOTA_EXCEEDED")


class InputImages:
    """The input pictures of an order: their URLs, and the objects that were stored for the order."""

    def __init__(self, services: stubs.Clients) -> None:
        self.uris: list[str] = []
        self.stored: list[storagepb.Object] = []
        self._services = services

    async def drop(self) -> None:
        """Delete what was stored, because no order refers to it; an object that cannot be deleted only wastes space."""
        wanted = [storagepb.DeleteObjectRequest(name=kept.name) for kept in self.stored]
        await asyncio.gather(*(stubs.answered(self._services.storage.DeleteObject(each)) for each in wanted))


@asynccontextmanager
async def provided(request: Request, field: str, given: Sequence[str]) -> AsyncIterator[InputImages]:
    """The input pictures of an order. Those given as data: URIs are stored, and deleted when the order is refused."""
    sources = [_source(field, value) for value in given]  # all are read before the first is stored
    pictures = InputImages(stubs.of(request))
    try:
        pictures.uris = [await _uri_of(request, found, pictures.stored) for found in sources]
        yield pictures
    except aio.AioRpcError as refusal:
        if refusal.code() in REFUSALS or from_rpc(refusal).reason in QUOTA_REACHED:
            await pictures.drop()
        raise


def _source(field: str, value: str) -> str | bytes:
    """A web URL, or the bytes of a data: URI. Raises InvalidArgument for anything else."""
    return _content_of(field, value) if _is_data_uri(value) else request_fields.web_url(field, value)


def _is_data_uri(value: str) -> bool:
    """True for a data: URI."""
    return value[:5].lower() == "data:"


async def _uri_of(request: Request, found: str | bytes, stored: list[storagepb.Object]) -> str:
    """The URL of a picture; bytes are uploaded first, and noted in `stored`."""
    if isinstance(found, str):
        return found
    limit = request.app.state.settings.max_upload_bytes
    stored.append(await uploads.store(stubs.of(request).storage, NAME, _sliced(found), limit))
    return stored[-1].uri


def _content_of(field: str, uri: str) -> bytes:
    """The bytes of a data: URI.

    Raises:
        InvalidArgument: it is not base64, or holds nothing.
    """
    head = DATA_URI.match(uri)
    content = _decoded(uri[head.end() :]) if head else b""
    if not content:
        raise invalid_field(field, f"{field} is a data: URI without a base64 picture. Upload the picture instead.")
    return content


def _decoded(text: str) -> bytes:
    """The bytes of strict base64; empty when the text is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


async def _sliced(content: bytes) -> AsyncIterator[bytes]:
    """The content in chunks that fit a message."""
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
