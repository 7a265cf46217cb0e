"""Single flight: concurrent callers with the same key share one run of the work.

The work either runs in a task of its own (`join`), which goes on when every caller has left, so that a retry finds it
done; or in the first caller (`leading`), who may stream its result, while the others wait for it (`running`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from services.chassis.errors import ResourceExhausted

T = TypeVar("T")

MAX_RUNNING = (
    256  # each may hold a file open and outlives its caller, so that callers who disconnect could pile them up
)
RETRY_SECONDS = 5.0


class SingleFlight(Generic[T]):
    """Running work by key. `crowded` is the sentence for callers while too many tasks run."""

    def __init__(self, crowded: str = "Too much of this is under way. Try again shortly.") -> None:
        self._crowded = crowded
        self._running: dict[Hashable, asyncio.Future[T]] = {}

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the running work of a key, or start it in a task; all callers get its result or error.

        Raises:
            ResourceExhausted: MAX_RUNNING others are running.
        """
        flight = self._running.get(key)
        if flight is None:
            if len(self._running) >= MAX_RUNNING:
                raise ResourceExhausted(self._crowded, retry_after=RETRY_SECONDS)
            flight = self._running[key] = asyncio.create_task(work())
            flight.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(flight)

    def running(self, key: Hashable) -> Awaitable[T] | None:
        """The result of the running work of a key, to wait for; None when none is running."""
        flight = self._running.get(key)
        return None if flight is None else asyncio.shield(flight)

    @contextmanager
    def leading(self, key: Hashable, otherwise: T) -> Iterator[Callable[[T], None]]:
        """Do the work of a key in the block, which gives the result to the yielded function as soon as there is one.

        Waiters get the first result, or `otherwise` when the block ends without: by an error, or since its caller left.
        """
        flight = self._running.setdefault(key, asyncio.get_running_loop().create_future())

        def land(result: T) -> None:
            if not flight.done():
                flight.set_result(result)
                del self._running[key]

        try:
            yield land
        finally:
            land(otherwise)

    def _done(self, key: Hashable, flight: "asyncio.Future[T]") -> None:
        del self._running[key]
        if not flight.cancelled():
            flight.exception()  # marks the exception as retrieved: perhaps nobody waits any more
