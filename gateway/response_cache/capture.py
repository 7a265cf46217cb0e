"""Captures a whole response as it is sent, adds an ETag, and sends it again: 304 to clients that hold it already."""

import re
from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import Counter
from starlette.types import Message, Scope, Send

from gateway.metrics import REQUESTS
from gateway.response_cache.byte_cache import Answer, Headers
from gateway.rest.routing import template
from services.chassis.names import ID, new_id
from services.chassis.preconditions import matches

START = "http.response.start"
REQUEST_ID = b"x-request-id"  # the one header that belongs to one request alone
OF_BODY = (b"content-type", b"content-length")  # what a 304 leaves out
SAFE = re.compile(ID.pattern.encode()).fullmatch
ETAG_BYTES = 16  # of 128 bits no two are the same by chance


class Asked(NamedTuple):
    """What of a request's headers an answer depends on."""

    origin: bytes
    held: bytes
    request_id: bytes


def asked_by(scope: Scope) -> Asked:
    """Look through the headers once; most reads end right after."""
    origin = held = request_id = b""
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            request_id = value
        elif name == b"origin":
            origin = value
        elif name == b"if-none-match":
            held = value
    return Asked(origin, held, request_id)


class ResponseCapture:
    """A `send` that holds a 200 back until it is whole, tells `then` of it, and passes everything else on."""

    def __init__(self, scope: Scope, send: Send, then: Callable[[Answer], None]) -> None:
        self._scope, self._send, self._then = scope, send, then
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Take the next message of the answer."""
        start, self._start = self._start, None
        if start is None and message["type"] == START and message["status"] == HTTPStatus.OK:
            self._start = message
        elif start is None:
            await self._send(message)
        elif message.get("more_body"):  # a stream is not kept
            await self._send(start)
            await self._send(message)
        else:
            await self._end(start, message.get("body", b""))

    async def _end(self, start: Message, body: bytes) -> None:
        own_id = next((value for name, value in start["headers"] if name == REQUEST_ID), b"")
        answer = recorded(self._scope, start, body)
        self._then(answer)
        await give(answer, asked_by(self._scope)._replace(request_id=own_id), self._send)


def recorded(scope: Scope, start: Message, body: bytes) -> Answer:
    """The answer with its ETag, ready to be given to others."""
    headers = [(name, value) for name, value in start["headers"] if name != REQUEST_ID]
    return with_etag(headers, body, REQUESTS.labels(template(scope), "GET", str(HTTPStatus.OK.value)))


def with_etag(headers: Headers, body: bytes, served: Counter) -> Answer:
    """An answer whose ETag says what its body is."""
    etag = b'"%s"' % blake2b(body, digest_size=ETAG_BYTES).hexdigest().encode()
    return Answer([*headers, (b"etag", etag)], body, etag, served)


async def give(answer: Answer, asked: Asked, send: Send) -> None:
    """Send an answer, or 304 when its ETag is held."""
    request_id = (REQUEST_ID, identified(asked.request_id))
    if asked.held and matches(asked.held.decode("latin-1"), answer.etag.decode()):
        headers = [header for header in answer.headers if header[0] not in OF_BODY]
        await send({"type": START, "status": 304, "headers": [*headers, request_id]})
        await send({"type": "http.response.body"})
        return
    await send({"type": START, "status": 200, "headers": [*answer.headers, request_id]})
    await send({"type": "http.response.body", "body": answer.body})


def identified(given: bytes) -> bytes:
    """The caller's request id when it is safe to log, else one of ours."""
    return given if SAFE(given) else new_id("req").encode()
