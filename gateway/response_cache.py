"""Answers repeated reads of shares from a bounded cache, before all other middleware, which costs more than the lookup.

A 200 response is captured whole as it is sent, gets an ETag, and is given again for a moment: as 304 to clients that
hold it already. A response that is given again is counted, but not logged. A write that may have happened drops all.

The most frequent read that is not cached, one share, is answered here without the middleware too, which costs more than
the share itself; only success: whatever fails goes its usual way, where it is logged. The headers that the middleware
would write are collected once for each Origin.
"""

import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from kawaii.share.v1 import share_pb2 as sharepb
from prometheus_client import Counter
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.clients.batched_reads import ShareReads
from gateway.clients.stubs import answered
from gateway.metrics import REQUESTS
from gateway.rest.responses import template
from services.chassis import names
from services.chassis.names import ID, new_id
from services.chassis.preconditions import matches
from services.chassis.single_flight import SingleFlight

START = "http.response.start"
REQUEST_ID = b"x-request-id"  # the one header that belongs to one request alone
OF_BODY = (b"content-type", b"content-length")  # what a 304 leaves out
SAFE = re.compile(ID.pattern.encode()).fullmatch
ETAG_BYTES = 16  # of 128 bits no two are the same by chance

READS_PREFIX = "/api/share"  # below it lie reads that are the same for everybody
READS, WRITES = ("GET", "HEAD"), ("POST", "PUT", "DELETE")
REFUSED = range(400, 500)  # nothing was written
PARAMETERS = frozenset(
    {"id", "limit", "offset", "cursor", "style", "model", "tag"}
)  # of the reads in routes/image_site/shares.py
MAX_KEY_BYTES = 512  # path and query of a read that is kept: an id has 128 characters, a cursor 20

OVERHEAD_BYTES = 2048  # what an answer takes beside its bytes: objects, table entries
PART_BYTES = 64  # what each text of a key and of a header takes beside its characters

MAX_ORIGINS = 1000  # anybody may invent others; a site has a handful
LENGTH = b"content-length"
ONE_SHARE = "/api/share/"  # before the id
OTHERS = ("list", "latest")  # paths of their own, which are no ids
SERVED = REQUESTS.labels("/api/share/{id}", "GET", "200")

Headers = list[tuple[bytes, bytes]]
Key = tuple[str | bytes, ...]
"""Path, query and origin."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it was sent, without the header that belongs to one request alone."""

    headers: Headers
    body: bytes
    etag: bytes
    served: Counter
    """Counts how often it is served from the cache."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A response, the monotonic second at which it expires, and the bytes that keeping it takes."""

    answer: Answer
    end: float
    size: int


@dataclass
class ByteCache:
    """Answers by key, for `seconds` each and at most `max_bytes` with keys and headers; the oldest goes first.

    All live equally long, so the oldest is also the first to expire: each call drops those whose time is over.
    """

    seconds: float
    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    epoch: int = 0
    """Grows with each clear(); an answer that was begun in an older epoch is not kept."""
    _entries: dict[Key, Entry] = field(default_factory=dict)
    _bytes: int = 0

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Answer | None:
        """The answer while it is fresh."""
        self._expire()
        entry = self._entries.get(key)
        return entry.answer if entry else None

    def put(self, key: Key, answer: Answer, epoch: int) -> None:
        """Keep an answer that was begun in an epoch, unless it alone is beyond the bound."""
        self._expire()
        size = size_of(key, answer)
        if not self.seconds or epoch != self.epoch or size > self.max_bytes:
            return
        self._drop(key)
        while self._bytes + size > self.max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = Entry(answer, self.clock() + self.seconds, size)
        self._bytes += size

    def clear(self) -> None:
        """Drop everything, also responses that are being made now."""
        self.epoch += 1
        self._entries.clear()
        self._bytes = 0

    def _expire(self) -> None:
        now = self.clock()
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key].end > now:
                return
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= entry.size


def size_of(key: Key, answer: Answer) -> int:
    """How many bytes keeping an answer takes, roughly."""
    parts = [*key, *(part for header in answer.headers for part in header), answer.body, answer.etag]
    return OVERHEAD_BYTES + sum(len(part) + PART_BYTES for part in parts)


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
        ours = scope["path"].startswith(READS_PREFIX)
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

    async def _lead(self, key: tuple[str, bytes, bytes], scope: Scope, receive: Receive, send: Send) -> Answer | None:
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
    given = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)] if query else []
    return len(given) == len(set(given)) and PARAMETERS.issuperset(given)


class LayerHeaders:
    """The headers that these layers write around a response with the given headers, by the Origin of the request."""

    def __init__(self, layers: Sequence[Middleware], media_type: str, headers: Mapping[str, str]) -> None:
        app: ASGIApp = Response(headers=headers, media_type=media_type)
        for layer, args, kwargs in reversed(layers):
            app = layer(app, *args, **kwargs)
        self._app = app
        self._known: dict[bytes, Headers] = {}

    async def of(self, origin: bytes) -> Headers:
        """The headers for a request of this Origin, empty when it named none."""
        if origin not in self._known:
            if len(self._known) == MAX_ORIGINS:
                self._known.clear()
            self._known[origin] = await self._written(origin)
        return self._known[origin]

    async def _written(self, origin: bytes) -> Headers:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"origin", origin)] if origin else []
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
        await self._app(scope, nothing, send)
        return [(name, value) for name, value in sent[0]["headers"] if name != LENGTH]


async def nothing() -> Message:
    """The body of a request that has none."""
    return {"type": "http.request", "body": b"", "more_body": False}


class FastPath:
    """Answers reads of single shares."""

    def __init__(
        self, reads: ShareReads, layer_headers: LayerHeaders, render: Callable[[sharepb.Share], bytes]
    ) -> None:
        self._reads, self._layer_headers, self._render = reads, layer_headers, render

    async def answer(self, scope: Scope, origin: bytes) -> Answer | None:
        """The response to a read; None when the read is of something else, or failed."""
        share_id = scope["path"].removeprefix(ONE_SHARE)
        if share_id in OTHERS or not ID.fullmatch(share_id):
            return None
        share = await answered(self._reads.get(names.name("shares", share_id)))
        if share is None:
            return None
        body = self._render(share)
        length = (b"content-length", b"%d" % len(body))
        return with_etag([length, *await self._layer_headers.of(origin)], body, SERVED)
