"""Single flight: concurrent callers with the same key share one run of the work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from services.chassis.errors import ResourceExhausted

T = TypeVar("T")

MAX_RUNNING = (
    256  # each may hold a file open and outlives its caller, so that callers who disconnect could pile them up
)


class SingleFlight(Generic[T]):
    """Running work by key. It goes on when a caller leaves, so that a retry finds it done."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the running work of a key, or start it; all callers get its result or error.

        Raises:
            ResourceExhausted: MAX_RUNNING others are running.
        """
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MAX_RUNNING:
                raise ResourceExhausted("Too many files are on their way in. Try again shortly.", retry_after=5)
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # marks the exception as retrieved: perhaps nobody waits any more
