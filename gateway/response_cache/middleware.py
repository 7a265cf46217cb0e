"""Answers repeated reads of shares from the cache, before all other middleware, which costs more than the lookup.

An answer that is given again is counted, but not logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.response_cache.byte_cache import Answer, ByteCache
from gateway.response_cache.capture import ResponseCapture, asked_by, give

PREFIX = "/api/share"  # below it lie reads that are the same for everybody
READS, WRITES = ("GET", "HEAD"), ("POST", "PUT", "DELETE")
REFUSED = range(400, 500)  # nothing was written
PARAMETERS = frozenset(
    {"id", "limit", "offset", "cursor", "style", "model", "tag"}
)  # of the reads, routes/image_site/shares
MAX_KEY_BYTES = 512  # path and query of a read that is kept: an id has 128 characters, a cursor 20

Key = tuple[str, bytes, bytes]
"""Path, query and origin."""
Quick = Callable[[Scope, bytes], Awaitable[Answer | None]]
"""Answers a read of this origin without the layers, or does not."""


class ResponseCacheLayer:
    """Keeps 200 answers. Equal reads at the same time share one; a write that may have happened drops them all.

    An answer depends on the asker's origin only where that is `listed`. Reads with unknown or long queries, which
    anybody may invent without end, pass by.
    """

    def __init__(self, app: ASGIApp, kept: ByteCache, quick: Quick, listed: Collection[str] = ()) -> None:
        self._app, self._kept, self._quick = app, kept, quick
        self._listed = frozenset(origin.encode() for origin in listed)
        self._flights: dict[object, asyncio.Future[Answer | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a read, or pass the request on."""
        ours = scope["path"].startswith(PREFIX)
        if ours and scope["method"] in READS and is_sane(scope):
            await self._read(scope, receive, send)
        elif ours and scope["method"] in WRITES:
            await self._app(scope, receive, self._watched(send))
        else:
            await self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = asked_by(scope)
        key = (scope["path"], scope["query_string"], asked.origin if asked.origin in self._listed else b"")
        answer = self._kept.get(key)
        if answer is None and (flight := self._flights.get((self._kept.epoch, key))):
            answer = await asyncio.shield(flight)
        if answer is None:  # also where a flight brought nothing that could be shared
            answer = await self._lead(key, scope, receive, send)
        if answer:
            answer.served.inc()
            await give(answer, asked, send)

    async def _lead(self, key: Key, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """Answer for all who ask the same until the answer is there; None when the layers have answered."""
        epoch = self._kept.epoch
        flight = self._flights.setdefault((epoch, key), asyncio.get_running_loop().create_future())

        def land(answer: Answer | None) -> None:
            if answer:
                self._kept.put(key, answer, epoch)
            if not flight.done():
                flight.set_result(answer)
                del self._flights[epoch, key]

        try:
            if answer := await self._quick(scope, key[-1]):
                land(answer)
            else:
                await self._app(scope, receive, ResponseCapture(scope, send, land))
            return answer
        finally:
            land(None)

    def _watched(self, send: Send) -> Send:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] not in REFUSED:
                self._kept.clear()
            await send(message)

        return watch


def is_sane(scope: Scope) -> bool:
    """Whether a read is one of those that we ask ourselves: short, and with known parameters, each once."""
    query = scope["query_string"]
    if len(scope["path"]) + len(query) > MAX_KEY_BYTES:
        return False
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)] if query else []
    return len(names) == len(set(names)) and PARAMETERS.issuperset(names)
