"""Makes sure that a picture given as input has a URL that the provider can fetch."""

import base64
import binascii
import re
from collections.abc import AsyncIterator

from starlette.requests import Request

from gateway import clients, parse, uploads
from gateway.multipart import CHUNK_BYTES

DATA_URI = re.compile(r"data:[^,;]*(?:;[^,;]+)*;base64,", re.IGNORECASE)
NAME = "pasted"  # a data: URI carries no file name


async def public_uris(request: Request, field: str, value: str) -> list[str]:
    """The picture's URL as a list, empty when there is no picture; one given as a data: URI is uploaded first."""
    if not value:
        return []
    if value[:5].lower() != "data:":
        return [parse.web_url(field, value)]
    stored = await uploads.store(
        clients.of(request).storage, NAME, sliced(content_of(field, value)), request.app.state.settings.max_upload_bytes
    )
    return [stored.uri]


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
