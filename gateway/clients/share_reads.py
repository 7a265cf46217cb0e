"""Reads shares for the routes; reads at the same time become one BatchGetShares."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from kawaii.share.v1 import share_pb2 as sharepb
from starlette.requests import Request

from gateway.clients.batching import Batcher
from gateway.clients.stubs import Clients
from services.chassis import context
from services.chassis.errors import DeadlineExceeded, NotFound

BATCH_SIZE = 32  # of the largest shares, 80 KB each, so many fit into one message
CALLS = 1  # with two the batches are half as large, and each costs as much


class ShareReads:
    """Reads shares by their names."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._coalescer = Batcher(self._ask, size=BATCH_SIZE, calls=CALLS)

    async def find(self, name: str) -> sharepb.Share:
        """One share.

        Raises:
            NotFound: there is none of this name.
            DeadlineExceeded: the time of our own caller is over.
            AioRpcError: the service could not be asked.
        """
        try:
            async with asyncio.timeout(context.time_remaining()):
                found = await self.get(name)
        except TimeoutError as error:
            raise DeadlineExceeded("The share service did not answer in time. Try again shortly.") from error
        if found is None:
            raise NotFound("There is no such share.")
        return found

    async def get(self, name: str) -> sharepb.Share | None:
        """One share, or None; raises AioRpcError when the service could not be asked."""
        return await self._coalescer.get(name)

    async def _ask(self, names: Sequence[str]) -> Mapping[str, sharepb.Share]:
        answer = await self._clients.share.BatchGetShares(sharepb.BatchGetSharesRequest(names=names))
        return {share.name: share for share in answer.shares}


def of(request: Request) -> ShareReads:
    """The ShareReads of the application that answers a request."""
    return cast("ShareReads", request.app.state.share_reads)
