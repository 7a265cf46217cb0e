"""Answers repeated reads of shares from the cache, before all other middleware, which costs more than the lookup.

A 200 response is captured whole as it is sent, gets an ETag, and is given again: as 304 to clients that hold it
already. A response that is given again is counted, but not logged.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import REQUESTS
from gateway.response_cache.byte_cache import Answer, ByteCache, Headers
from gateway.rest.routing import template
from services.chassis.names import ID, new_id
from services.chassis.preconditions import matches
from services.chassis.single_flight import SingleFlight

START = "http.response.start"
REQUEST_ID = b"x-request-id"  # the one header that belongs to one request alone
OF_BODY = (b"content-type", b"content-length")  # what a 304 leaves out
SAFE = re.compile(ID.pattern.encode()).fullmatch
ETAG_BYTES = 16  # of 128 bits no two are the same by chance

PREFIX = "/api/share"  # below it lie reads that are the same for everybody
READS, WRITES = ("GET", "HEAD"), ("POST", "PUT", "DELETE")
REFUSED = range(400, 500)  # nothing was written
PARAMETERS = frozenset(
    {"id", "limit", "offset", "cursor", "style", "model", "tag"}
)  # of the reads in routes/image_site/shares.py
MAX_KEY_BYTES = 512  # path and query of a read that is kept: an id has 128 characters, a cursor 20

Key = tuple[str, bytes, bytes]
"""Path, query and origin."""
Quick = Callable[[Scope, bytes], Awaitable[Answer | None]]
"""Answers a read of this origin without the layers, or does not."""


class RequestHeaders(NamedTuple):
    """The headers of a request on which its answer depends: Origin, If-None-Match, X-Request-Id."""

    origin: bytes
    held: bytes
    request_id: bytes


def request_headers(scope: Scope) -> RequestHeaders:
    """Find them in one pass over the headers: most reads end right after."""
    origin = held = request_id = b""
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            request_id = value
        elif name == b"origin":
            origin = value
        elif name == b"if-none-match":
            held = value
    return RequestHeaders(origin, held, request_id)


class ResponseCapture:
    """A `send` that collects a 200 response, passes it to `then`, and then sends it; other messages pass at once."""

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
        answer = _recorded(self._scope, start, body)
        self._then(answer)
        await send_answer(answer, request_headers(self._scope)._replace(request_id=own_id), self._send)


def _recorded(scope: Scope, start: Message, body: bytes) -> Answer:
    """The response with its ETag, as the cache keeps it."""
    headers = [(name, value) for name, value in start["headers"] if name != REQUEST_ID]
    return with_etag(headers, body, REQUESTS.labels(template(scope), "GET", str(HTTPStatus.OK.value)))


def with_etag(headers: Headers, body: bytes, served: Counter) -> Answer:
    """A response whose ETag is a digest of its body."""
    etag = b'"%s"' % blake2b(body, digest_size=ETAG_BYTES).hexdigest().encode()
    return Answer([*headers, (b"etag", etag)], body, etag, served)


async def send_answer(answer: Answer, asked: RequestHeaders, send: Send) -> None:
    """Send a response, or 304 when the client holds its ETag already."""
    request_id = (REQUEST_ID, _request_id(asked.request_id))
    if asked.held and matches(asked.held.decode("latin-1"), answer.etag.decode()):
        headers = [header for header in answer.headers if header[0] not in OF_BODY]
        await send({"type": START, "status": 304, "headers": [*headers, request_id]})
        await send({"type": "http.response.body"})
        return
    await send({"type": START, "status": 200, "headers": [*answer.headers, request_id]})
    await send({"type": "http.response.body", "body": answer.body})


def _request_id(given: bytes) -> bytes:
    """The caller's request id when it is safe to log, else one of ours."""
    return given if SAFE(given) else new_id("req").encode()


class ResponseCacheLayer:
    """Caches 200 responses. Equal reads at the same time share one; a write that may have happened drops them all.

    A response depends on the Origin of its request only where that is `listed`. Reads with unknown or long queries,
    which anybody may invent without end, are not cached.
    """

    def __init__(self, app: ASGIApp, kept: ByteCache, quick: Quick, listed: Collection[str] = ()) -> None:
        self._app, self._kept, self._quick = app, kept, quick
        self._listed = frozenset(origin.encode() for origin in listed)
        self._flights = SingleFlight[Answer | None]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a read, or pass the request on."""
        ours = scope["path"].startswith(PREFIX)
        if ours and scope["method"] in READS and _is_sane(scope):
            await self._read(scope, receive, send)
        elif ours and scope["method"] in WRITES:
            await self._app(scope, receive, self._watched(send))
        else:
            await self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = request_headers(scope)
        key = (scope["path"], scope["query_string"], asked.origin if asked.origin in self._listed else b"")
        answer = self._kept.get(key)
        if answer is None and (flight := self._flights.running((self._kept.epoch, key))):
            answer = await flight
        if answer is None:  # also where a flight brought nothing that could be shared
            answer = await self._lead(key, scope, receive, send)
        if answer:
            answer.served.inc()
            await send_answer(answer, asked, send)

    async def _lead(self, key: Key, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Answer for all equal reads that wait; None when the layers have sent the response already."""
        epoch = self._kept.epoch
        with self._flights.leading((epoch, key), None) as land:

            def keep(answer: Answer | None) -> None:
                if answer:
                    self._kept.put(key, answer, epoch)
                land(answer)

            if answer := await self._quick(scope, key[-1]):
                keep(answer)
            else:
                await self._app(scope, receive, ResponseCapture(scope, send, keep))
            return answer

    def _watched(self, send: Send) -> Send:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] not in REFUSED:
                self._kept.clear()
            await send(message)

        return watch


def _is_sane(scope: Scope) -> bool:
    """Whether a read may be cached: short, and with known parameters, each once."""
    query = scope["query_string"]
    if len(scope["path"]) + len(query) > MAX_KEY_BYTES:
        return False
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)] if query else []
    return len(names) == len(set(names)) and PARAMETERS.issuperset(names)
