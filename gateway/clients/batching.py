"""Batches reads: keys that are asked for at the same time go in one call, which costs far more than what it carries."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from services.chassis.context import deadline

K = TypeVar("K")
V = TypeVar("V")


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
        call = asyncio.get_running_loop().create_task(self._ask(list(batch)), context=without_deadline())
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


def without_deadline() -> Context:
    """The present context without a deadline: the first caller's deadline must not end a call that others share."""
    context = copy_context()
    context.run(deadline.set, None)
    return context
