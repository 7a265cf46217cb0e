"""The protocol between a decoder pool and its workers: a head in JSON and a body of bytes, both length-prefixed."""

import asyncio
import json
import struct
from typing import Any, BinaryIO

LENGTHS = struct.Struct(">II")
MAX_HEAD_BYTES = 1024 * 1024  # a worker that was taken over must not fill our memory
MAX_BODY_BYTES = 64 * 1024 * 1024  # twice the largest object
NO_FILE = "NO_FILE"  # the refusal of a file that was deleted, or that a worker may not read: no fault of the picture

Message = tuple[dict[str, Any], bytes]


def packed(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A message in bytes."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def received(pipe: BinaryIO) -> Message | None:
    """Read the next message, blocking; None at the end of the stream. For workers."""
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head, body = LENGTHS.unpack(lengths)
    return json.loads(pipe.read(head)), pipe.read(body)


async def receive(pipe: asyncio.StreamReader) -> Message:
    """Read the next message. For the decoder pool.

    Raises:
        IncompleteReadError: the worker ended.
        ValueError: the message is longer than any of ours.
    """
    head, body = LENGTHS.unpack(await pipe.readexactly(LENGTHS.size))
    if head > MAX_HEAD_BYTES or body > MAX_BODY_BYTES:
        raise ValueError("a worker's message is too long")
    return json.loads(await pipe.readexactly(head)), await pipe.readexactly(body)
