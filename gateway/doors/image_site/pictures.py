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

from gateway import clients, parse, uploads
from gateway.multipart import CHUNK_BYTES

DATA_URI = re.compile(r"data:[^,;]*(?:;[^,;]+)*;base64,", re.IGNORECASE)
NAME = "pasted"  # a data: URI carries no file name
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS)  # no order was made of it


@asynccontextmanager
async def provided(request: Request, field: str, given: Sequence[str]) -> AsyncIterator[list[str]]:
    """URLs of the pictures of an order. Those given as data: URIs are stored for it, and go when it is refused."""
    sources = [source(field, value) for value in given]  # all are read before the first is stored
    stored: list[storagepb.Object] = []
    try:
        yield [await uri_of(request, found, stored) for found in sources]
    except aio.AioRpcError as refusal:
        if refusal.code() in REFUSALS:
            await dropped(clients.of(request), stored)
        raise


def source(field: str, value: str) -> str | bytes:
    """A web URL, or the bytes of a data: URI. Raises InvalidArgument for anything else."""
    return content_of(field, value) if value[:5].lower() == "data:" else parse.web_url(field, value)


async def uri_of(request: Request, found: str | bytes, stored: list[storagepb.Object]) -> str:
    """The URL of a picture; bytes are uploaded first, and noted in `stored`."""
    if isinstance(found, str):
        return found
    limit = request.app.state.settings.max_upload_bytes
    stored.append(await uploads.store(clients.of(request).storage, NAME, sliced(found), limit))
    return stored[-1].uri


async def dropped(services: clients.Clients, stored: Sequence[storagepb.Object]) -> None:
    """Delete what nobody refers to; what cannot be deleted now is only wasted."""
    wanted = [storagepb.DeleteObjectRequest(name=kept.name) for kept in stored]
    await asyncio.gather(*(clients.answered(services.storage.DeleteObject(each)) for each in wanted))


def content_of(field: str, uri: str) -> bytes:
    """The bytes of a data: URI.

    Raises:
        InvalidArgument: it is not base64, or holds nothing.
    """
    head = DATA_URI.match(uri)
    content = decoded(uri[head.end() :]) if head else b""
    if not content:
        raise parse.wrong(field, f"{field} is a data: URI without a base64 picture. Upload the picture instead.")
    return content


def decoded(text: str) -> bytes:
    """Base64 read strictly; nothing when it is wrong."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


async def sliced(content: bytes) -> AsyncIterator[bytes]:
    """The content in chunks that fit a message."""
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
