"""A circuit breaker around one backend of a failover pair: bounded calls, and a pause after a time-out or a failed put.

After a time-out all calls are refused until the pause is over; then one call probes the backend while the others are
still refused (half-open). After a put that failed at once only puts are refused: other calls take no time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.backends.disk import down
from services.storage.ports import Backend

T = TypeVar("T")

DOWN = (Unavailable, ResourceExhausted)  # a full backend refuses puts too

logger = structlog.get_logger()


@dataclass(frozen=True)
class TimeLimits:
    """Time limits of calls to a backend and the pause after a failure, in seconds."""

    hedge: float = 0.5  # of a HEAD, before the other backend is called too: a bucket answers in a tenth
    call: float = 3.0  # of a HEAD, before it counts as a time-out
    put: float = 10.0  # of a put, besides the time of its bytes at bytes_per_second
    bytes_per_second: float = 1024 * 1024
    pause: float = 5.0  # the pause after a failure
    clock: Callable[[], float] = time.monotonic


class CircuitBreaker:
    """A backend whose calls are bounded and, after a failure, refused for a while."""

    def __init__(self, name: str, backend: Backend, limits: TimeLimits) -> None:
        self.backend = backend
        self._name = name
        self._limits = limits
        self._open_until = self._puts_refused_until = 0.0
        self._answered = -limits.call

    @property
    def takes_puts(self) -> bool:
        """Whether a put may be tried now."""
        return self._limits.clock() >= max(self._open_until, self._puts_refused_until)

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Make a short call.

        Raises:
            Unavailable: the backend failed or timed out, or its pause is not over.
        """
        return await self._bounded(work, self._limits.call)

    async def probe(self, work: Callable[[], Awaitable[object]]) -> None:
        """Make a short call unless one has just succeeded: a put would find a time-out later."""
        if self.takes_puts and self._limits.clock() - self._answered >= self._limits.call:
            with suppress(KawaiiError):
                await self.call(work)

    async def put(self, work: Callable[[], Awaitable[T]], size: int) -> T:
        """Put `size` bytes. After a failure further puts are refused for a while.

        Raises:
            Unavailable, ResourceExhausted: the backend failed, timed out or is full, or its pause is not over.
        """
        if not self.takes_puts:
            raise down(self._limits.pause)
        try:
            kept = await self._bounded(work, self._limits.put + size / self._limits.bytes_per_second)
        except DOWN as failure:
            self._puts_refused_until = self._limits.clock() + self._limits.pause
            logger.warning("backend_refuses_puts", backend=self._name, reason=failure.reason)
            raise
        self._puts_refused_until = 0.0
        return kept

    async def _bounded(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        now = self._limits.clock()
        if now < self._open_until:
            raise down(self._limits.pause)
        if self._open_until:  # half-open: others are refused until this probe ends
            self._open_until = now + seconds + self._limits.pause
        try:
            async with asyncio.timeout(seconds):
                answer = await work()
        except TimeoutError:
            self._open_until = self._limits.clock() + self._limits.pause
            logger.warning("backend_timed_out", backend=self._name)
            raise down(self._limits.pause) from None
        except asyncio.CancelledError:  # the caller left without an answer: after a time-out the next one probes
            self._open_until = min(self._open_until, now)
            raise
        except BaseException:
            self._close()
            raise
        self._close()
        return answer

    def _close(self) -> None:
        self._open_until, self._answered = 0.0, self._limits.clock()
