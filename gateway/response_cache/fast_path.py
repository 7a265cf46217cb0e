"""Answers the most frequent read, one share, without the middleware, which costs more than the share itself.

Only success is answered here. Whatever fails goes its usual way, where it is logged and told.
"""

from collections.abc import Callable

from kawaii.share.v1 import share_pb2 as sharepb
from starlette.types import Scope

from gateway.clients.share_reads import ShareReads
from gateway.clients.stubs import answered
from gateway.metrics import REQUESTS
from gateway.response_cache.byte_cache import Answer
from gateway.response_cache.capture import with_etag
from gateway.response_cache.layer_headers import LayerHeaders
from services.chassis.names import ID, name

PREFIX = "/api/share/"
OTHERS = ("list", "latest")  # paths of their own, which are no ids
SERVED = REQUESTS.labels("/api/share/{id}", "GET", "200")


class FastPath:
    """The answers to reads of single shares."""

    def __init__(
        self, reads: ShareReads, layer_headers: LayerHeaders, render: Callable[[sharepb.Share], bytes]
    ) -> None:
        self._reads, self._layer_headers, self._render = reads, layer_headers, render

    async def answer(self, scope: Scope, origin: bytes) -> Answer | None:
        """The answer to a read; None when it is of something else, or failed."""
        share_id = scope["path"].removeprefix(PREFIX)
        if share_id in OTHERS or not ID.fullmatch(share_id):
            return None
        share = await answered(self._reads.get(name("shares", share_id)))
        if share is None:
            return None
        body = self._render(share)
        length = (b"content-length", b"%d" % len(body))
        return with_etag([length, *await self._layer_headers.of(origin)], body, SERVED)
