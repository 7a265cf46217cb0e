"""One of two places, with patience of its own: what stays silent or takes nothing rests, and is tried again by itself.

A place that is silent makes everybody wait, so nothing asks a silent one until its rest is over; then one caller tries
it, while the others still go without. A place that refuses at once costs nothing to ask, and only puts avoid it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.backends.tree import down
from services.storage.ports import Backend

T = TypeVar("T")

DOWN = (Unavailable, ResourceExhausted)  # a full place takes nothing either

logger = structlog.get_logger()


@dataclass(frozen=True)
class Patience:
    """How long a place may take before the other one has to do, in seconds, and how long it rests then."""

    hedge: float = 0.5  # for a head, before the other place is asked as well: a bucket answers in a tenth
    ask: float = 3.0  # for a head, before the place counts as silent
    put: float = 10.0  # for a put, and as much more as its bytes take at the slowest
    bytes_per_second: float = 1024 * 1024
    rest: float = 5.0  # its time-outs would add up
    clock: Callable[[], float] = time.monotonic


class Place:
    """A backend that is asked with a bound."""

    def __init__(self, name: str, backend: Backend, patience: Patience) -> None:
        self.backend = backend
        self._name = name
        self._patience = patience
        self._silent_until = self._closed_until = 0.0
        self._answered = -patience.ask

    @property
    def takes(self) -> bool:
        """Whether it is worth trying to put something there."""
        return self._patience.clock() >= max(self._silent_until, self._closed_until)

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something short there.

        Raises:
            Unavailable: it is down, silent, or rests.
        """
        return await self._bounded(work, self._patience.ask)

    async def probe(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do something short there, unless it answered just now: whoever is about to put learns of a silence sooner."""
        if self.takes and self._patience.clock() - self._answered >= self._patience.ask:
            with suppress(KawaiiError):
                await self.ask(work)

    async def put(self, work: Callable[[], Awaitable[T]], size: int) -> T:
        """Put so many bytes there; a place that does not take them is not asked to take others for a while.

        Raises:
            Unavailable, ResourceExhausted: it is down, silent, full, or rests.
        """
        if not self.takes:
            raise down(self._patience.rest)
        try:
            kept = await self._bounded(work, self._patience.put + size / self._patience.bytes_per_second)
        except DOWN as failure:
            self._closed_until = self._patience.clock() + self._patience.rest
            logger.warning("place_takes_nothing", place=self._name, reason=failure.reason)
            raise
        self._closed_until = 0.0
        return kept

    async def _bounded(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        now = self._patience.clock()
        if now < self._silent_until:
            raise down(self._patience.rest)
        if self._silent_until:  # whoever comes meanwhile goes without, until we know
            self._silent_until = now + seconds + self._patience.rest
        try:
            async with asyncio.timeout(seconds):
                answer = await work()
        except TimeoutError:
            self._silent_until = self._patience.clock() + self._patience.rest
            logger.warning("place_is_silent", place=self._name)
            raise down(self._patience.rest) from None
        except asyncio.CancelledError:  # who left heard nothing: after a silence the next one tries
            self._silent_until = min(self._silent_until, now)
            raise
        except BaseException:
            self._heard()
            raise
        self._heard()
        return answer

    def _heard(self) -> None:
        self._silent_until, self._answered = 0.0, self._patience.clock()
