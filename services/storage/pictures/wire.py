"""What a workshop and its workers say to each other: a head in JSON and bytes behind it, both with their lengths."""

import asyncio
import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">II")
MAX_HEAD_BYTES = 1024 * 1024  # a worker that was taken over must not fill our memory
MAX_BODY_BYTES = 64 * 1024 * 1024  # twice the largest object

Message = tuple[dict[str, Any], bytes]


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A message as it travels."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def received(pipe: BinaryIO) -> Message | None:
    """The next message; None at the end of the stream. For workers, who wait."""
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, body = LENGTHS.unpack(lengths)
    return json.loads(pipe.read(head)), pipe.read(body)


async def receive(pipe: asyncio.StreamReader) -> Message:
    """The next message, for the workshop.

    Raises:
        IncompleteReadError: the worker ended.
        ValueError: it said what no worker of ours says.
    """
    head, body = LENGTHS.unpack(await pipe.readexactly(LENGTHS.size))
    if head > MAX_HEAD_BYTES or body > MAX_BODY_BYTES:
        raise ValueError("a worker's message is too long")
    return json.loads(await pipe.readexactly(head)), await pipe.readexactly(body)
