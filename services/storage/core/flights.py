"""Lets callers who want the same thing at the same time share one run of the work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from services.chassis.errors import ResourceExhausted

T = TypeVar("T")

MAX_FLIGHTS = (
    256  # each may hold a file open and outlives its caller, so that callers who come and go could pile them up
)


class Flights(Generic[T]):
    """Work in flight by key. It goes on when a caller leaves, so that a retry finds it done."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the flight of the key, or start it; its result or error is everyone's.

        Raises:
            ResourceExhausted: too many others are in flight.
        """
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MAX_FLIGHTS:
                raise ResourceExhausted("Too many files are on their way in. Try again shortly.", retry_after=5)
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    def _land(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: perhaps nobody is left to look
