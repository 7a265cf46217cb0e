"""Gives repeated reads of shares the bytes of a moment ago, before all other layers: what lies behind is the dear part.

It also gives these reads their ETag and their 304. An answer that is given again is counted but not logged.
"""

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.byte_cache import Answer, ByteCache, Headers
from gateway.middleware.metrics import REQUESTS
from gateway.routing import template
from services.chassis.names import ID, new_id

PREFIX = "/api/share"  # below it lie reads that are the same for everybody
READS, WRITES = ("GET", "HEAD"), ("POST", "PUT", "DELETE")
REQUEST_ID = b"x-request-id"  # the one header that belongs to one request alone
OF_BODY = (b"content-type", b"content-length")  # what a 304 leaves out
ETAG_BYTES = 16  # of 128 bits, no two are the same by chance


class Asked(NamedTuple):
    """What of a request's headers an answer depends on."""

    origin: bytes
    held: bytes
    request_id: bytes


class KeptAnswers:
    """Keeps 200 answers. Equal reads at the same time share one; a write that may have happened drops them all."""

    def __init__(self, app: ASGIApp, kept: ByteCache) -> None:
        self._app, self._kept = app, kept
        self._flights: dict[object, asyncio.Future[Answer | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a read, or pass the request on."""
        ours = scope["path"].startswith(PREFIX)
        if ours and scope["method"] in READS:
            await self._read(scope, receive, send)
        elif ours and scope["method"] in WRITES:
            await self._app(scope, receive, self._watched(send))
        else:
            await self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = asked_by(scope)
        key = (scope["path"], scope["query_string"], asked.origin)
        answer = self._kept.get(key)
        if answer is None and (flight := self._flights.get((self._kept.epoch, key))):
            answer = await asyncio.shield(flight)
        if answer is None:
            await self._lead(key, scope, receive, Recorder(send, scope, asked.held))
            return
        answer.served.inc()
        await give(answer, asked.held, identified(asked.request_id), send)

    async def _lead(self, key: object, scope: Scope, receive: Receive, recorder: "Recorder") -> None:
        """Answer for all who ask the same until this answer is there; those who get none ask for themselves."""
        epoch = self._kept.epoch
        flight = self._flights.setdefault((epoch, key), asyncio.get_running_loop().create_future())

        def land(answer: Answer | None) -> None:
            if self._flights.get((epoch, key)) is flight and not flight.done():
                del self._flights[epoch, key]
                flight.set_result(answer)

        def keep(answer: Answer) -> None:
            self._kept.put(key, answer, epoch)
            land(answer)

        recorder.then(keep)
        try:
            await self._app(scope, receive, recorder)
        finally:
            land(None)

    def _watched(self, send: Send) -> Send:
        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] // 100 != HTTPStatus.BAD_REQUEST // 100:
                self._kept.clear()
            await send(message)

        return watch
