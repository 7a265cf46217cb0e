"""What the doors share: the parts of the process, and the reading of bounded JSON bodies."""

import json
from dataclasses import dataclass

from starlette.requests import Request

from services.sandbox.archive import Archive
from services.sandbox.callbacks import Sender
from services.sandbox.control import Control
from services.sandbox.core import Sandbox
from services.sandbox.gallery import Gallery
from services.sandbox.model import Json, RefusalError
from services.sandbox.ports import Store

MAX_JSON_BYTES = 16 * 1024 * 1024  # a 10 MB picture in base64, the upper hint of kie.md 5.3, and some room


@dataclass(frozen=True)
class Desk:
    """Everything that a door may need."""

    sandbox: Sandbox
    archive: Archive
    control: Control
    gallery: Gallery
    sender: Sender
    store: Store


def desk_of(request: Request) -> Desk:
    """The parts of this process."""
    desk: Desk = request.app.state.desk
    return desk


def caller(request: Request) -> str:
    """The account that asks.

    Raises:
        RefusalError: 401 without a good key.
    """
    return desk_of(request).sandbox.admit(request.headers.get("authorization", ""))


async def body_of(request: Request) -> Json:
    """Read a JSON object.

    Raises:
        RefusalError: 400 when it is not one, or larger than is read.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_JSON_BYTES:
            raise RefusalError(400, "The request body is too large")
    return parse_object(bytes(data))


def parse_object(data: bytes) -> Json:
    """Read bytes as a JSON object.

    Raises:
        RefusalError: 400 when they are not one.
    """
    try:
        body = json.loads(data)
    except ValueError:
        raise RefusalError(400, "The request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise RefusalError(400, "The request body is not a JSON object")
    return body
