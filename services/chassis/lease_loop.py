"""The lease loop: claims due work from a store and does a bounded number of pieces at once; under each worker.

A claim leases pieces: until the lease ends, no other replica gets them. A piece that fails, or whose process dies, is
due again when its lease ends, or earlier if the loop says so; one at which our own code fails again and again is parked
(`services/chassis/parking.py`). Each store keeps leases in its own columns, so the loop is given functions for them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import structlog

from services.chassis.errors import Unavailable
from services.chassis.notifier import Notifier
from services.chassis.parking import TRANSIENT, Parking, Unparked, WorkFault

LOOK_SECONDS = 1.0  # how late work of another replica, or a retry, may be noticed
RENEWALS = 3  # times a lease is renewed within its length

logger = structlog.get_logger()


class Piece(Protocol):
    """A piece of work: a row that is due."""

    @property
    def id(self) -> str:
        """The id by which failures are counted."""

    @property
    def faults(self) -> int:
        """How often in a row it has failed, as its claim read it (`parking.faults_of`); 0 where none is ever parked."""


P = TypeVar("P", bound=Piece)


async def no_change(_piece: Piece) -> None:
    """The default of `before_parking`: the piece's state need not show that it is parked."""


@dataclass(frozen=True)
class LeasedWork(Generic[P]):
    """One kind of leased work: how its pieces are claimed, done, renewed and made due again."""

    loop: str
    """The loop's name in rows of work that failed, in metrics and in the log."""
    claim: Callable[[int], Awaitable[Sequence[P]]]
    """Leases at most so many pieces that are due and not parked."""
    do: Callable[[P], Awaitable[object]]
    """Does a piece."""
    failed: Callable[[P, WorkFault], Awaitable[object]]
    """Makes a piece due again in `pause_seconds` of the fault, in which `do` ended with an unexpected exception."""
    postponed: Callable[[P, Exception], Awaitable[object]]
    """Called with an error named in `expected`, which `do` or `failed` raised: at least logs it."""
    at_once: int
    """How many pieces are done at once."""
    lease_seconds: float
    """For how long a claim leases a piece."""
    begin_seconds: float = 0.0
    """What the lease must have left when a piece begins; a piece that comes too late waits for another claim."""
    renew: Callable[[P], Awaitable[object]] | None = None
    """Renews a piece's lease, RENEWALS times within its length; None: no piece takes longer than its lease."""
    fenced: bool = False
    """Whether a claim takes the right to write from earlier claims; if not, a piece never has two tasks here."""
    expected: tuple[type[Exception], ...] = TRANSIENT
    """Errors that are no fault of the work."""
    before_parking: Callable[[P], Awaitable[object]] = no_change
    """Brings a piece into a state that its owner sees, before it is parked."""
    crash_event: str = "work_failed"
    """The name of the log line for an exception in these functions themselves."""


class LeaseLoop(Generic[P]):
    """Does leased work until cancelled, then lets the running pieces finish. The notifier wakes it by its topic."""

    def __init__(
        self, work: LeasedWork[P], parking: Parking | Unparked, notifier: Notifier | None = None, topic: str = ""
    ) -> None:
        self._work = work
        self._parking = parking
        self._notifier = notifier or Notifier()
        self._topic = topic
        self._running: dict[asyncio.Task[None], str] = {}

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Claim and do work until the notifier closes or this is cancelled; running work is always finished.

        Raises:
            Unavailable: work could not be claimed.
        """
        try:
            with self._notifier.subscribed(self._topic) as subscription:
                while not self._notifier.closing:
                    if not await self._begin_due():
                        await subscription.wait(look_seconds)
        finally:
            await self._finish()

    async def do_due(self) -> int:
        """Claim once and do what was claimed; returns its number. Raises Unavailable."""
        claimed = await self._begin_due()
        await self._finish()
        return claimed

    async def _finish(self) -> None:
        """Wait for running work: an answer on its way must be recorded, so a second cancellation does not end it."""
        while self._running:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._running)

    async def _begin_due(self) -> int:
        """Begin as many pieces as may run. None waits for another: one may take minutes."""
        if len(self._running) >= self._work.at_once:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        begin_until = time.monotonic() + self._work.lease_seconds - self._work.begin_seconds
        claimed = await self._work.claim(self._work.at_once - len(self._running))
        for piece in claimed:
            if time.monotonic() < begin_until and (self._work.fenced or piece.id not in self._running.values()):
                task = asyncio.create_task(self._do(piece))
                self._running[task] = piece.id
                task.add_done_callback(self._ended)
        return len(claimed)

    async def _do(self, piece: P) -> None:
        """Do one piece of work. Whatever fails, the lease ends and the work is claimed again, unless it is parked."""
        try:
            async with self._leased(piece):
                fault = await self._parking.attempt(
                    self._work.loop,
                    piece.id,
                    partial(self._work.do, piece),
                    failed=piece.faults,
                    expected=self._work.expected,
                    before_parking=partial(self._work.before_parking, piece),
                )
            if fault:
                await self._work.failed(piece, fault)
        except self._work.expected as error:
            await self._work.postponed(piece, error)

    def _leased(self, piece: P) -> AbstractAsyncContextManager[None]:
        renew = self._work.renew
        return renewing(partial(renew, piece), self._work.lease_seconds) if renew else nullcontext()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Log what a task raised: one poisoned piece must not stop the others."""
        piece = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error(self._work.crash_event, loop=self._work.loop, work=piece, exc_info=error)


@asynccontextmanager
async def renewing(renew: Callable[[], Awaitable[object]], lease_seconds: float) -> AsyncIterator[None]:
    """Renew a lease of so many seconds while inside, until a renewal says that the lease is lost."""
    task = asyncio.create_task(_renew(renew, lease_seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew(renew: Callable[[], Awaitable[object]], lease_seconds: float) -> None:
    while True:
        await asyncio.sleep(lease_seconds / RENEWALS)
        with suppress(Unavailable):  # the next turn comes before the lease ends
            await renew()
