"""Batches reads: keys that are read at the same time go in one call, which costs far more than what it carries.

Reads of shares for the routes become BatchGetShares.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar, cast

from kawaii.share.v1 import share_pb2 as sharepb
from starlette.requests import Request

from gateway.clients.stubs import Clients
from services.chassis import context
from services.chassis.context import deadline
from services.chassis.errors import DeadlineExceeded, NotFound

K = TypeVar("K")
V = TypeVar("V")

BATCH_SIZE = 32  # of the largest shares, 80 KB each, so many fit into one message
CALLS = 1  # with two the batches are half as large, and each costs as much


class Batcher(Generic[K, V]):
    """Reads values by key, at most `size` keys a call and `calls` calls at once; other keys wait for the next call.

    A key that waits is read once, however many callers want it. No caller joins a call that has begun: it may have read
    before the value changed, and a caller that comes after a change must see it.
    """

    def __init__(
        self, ask: Callable[[Sequence[K]], Coroutine[Any, Any, Mapping[K, V]]], *, size: int, calls: int
    ) -> None:
        self._ask, self._size, self._free = ask, size, calls
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._begun: set[asyncio.Task[Mapping[K, V]]] = set()

    async def get(self, key: K) -> V | None:
        """The value of a key, or None when the answer has none; raises what the call raises."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            self._begin()
        return await asyncio.shield(future)  # a caller that is cancelled must not take the value from the others

    def _begin(self) -> None:
        if not self._free or not self._waiting:
            return
        self._free -= 1
        batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, self._size))}
        call = asyncio.get_running_loop().create_task(self._ask(list(batch)), context=_without_deadline())
        self._begun.add(call)
        call.add_done_callback(partial(self._end, batch))

    def _end(self, batch: Mapping[K, "asyncio.Future[V | None]"], call: "asyncio.Task[Mapping[K, V]]") -> None:
        self._begun.discard(call)
        self._free += 1
        self._begin()
        for key, future in batch.items():
            if call.cancelled():
                future.cancel()
            elif failure := call.exception():
                future.set_exception(failure)
            else:
                future.set_result(call.result().get(key))


def _without_deadline() -> Context:
    """The present context without a deadline: the first caller's deadline must not end a call that others share."""
    context = copy_context()
    context.run(deadline.set, None)
    return context


class ShareReads:
    """Reads shares by their names."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._batcher = Batcher(self._ask, size=BATCH_SIZE, calls=CALLS)

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
        return await self._batcher.get(name)

    async def _ask(self, names: Sequence[str]) -> Mapping[str, sharepb.Share]:
        answer = await self._clients.share.BatchGetShares(sharepb.BatchGetSharesRequest(names=names))
        return {share.name: share for share in answer.shares}


def of(request: Request) -> ShareReads:
    """The ShareReads of the application that answers a request."""
    return cast("ShareReads", request.app.state.share_reads)
