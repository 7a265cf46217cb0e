"""The lease loop: claims due work from the store and does a bounded number of pieces at once; under each worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog

from services.chassis import failpoints
from services.chassis.errors import Unavailable
from services.chassis.parking import TRANSIENT, Parking
from services.generation.model import LOOP_OF, Generation, State
from services.generation.notifier import Notifier, Subscription
from services.generation.ports import Change, FenceLost, GenerationStore

LOOK_SECONDS = 1.0  # how late work of another replica, or a retry, may be noticed
RENEWALS = 3  # times a lease is renewed within its length
EXPECTED = (FenceLost, *TRANSIENT)  # no fault of the work

Work = Callable[[Generation], Awaitable[object]]

logger = structlog.get_logger()


async def nothing_to_show(_generation: Generation) -> None:
    """The default of `before_parking`: the state shows already that the generation is under way."""


@dataclass(frozen=True)
class LoopSpec:
    """What a lease loop claims: states, topic, how many at once, for how long, and what runs before work is parked."""

    states: Collection[State]
    topic: str
    at_once: int
    lease_seconds: float
    before_parking: Work = nothing_to_show

    @property
    def loop(self) -> str:
        """The loop's name in rows of work that failed."""
        return LOOP_OF[next(iter(self.states))]


class LeaseLoop:
    """Runs one function over due generations until cancelled, then lets the running calls finish."""

    def __init__(
        self, store: GenerationStore, parking: Parking, notifier: Notifier, spec: LoopSpec, work: Work
    ) -> None:
        self._store = store
        self._parking = parking
        self._notifier = notifier
        self._spec = spec
        self._work = work
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Claim and do work until the notifier closes or this is cancelled; running work is always finished."""
        try:
            with self._notifier.subscribed(self._spec.topic) as subscription:
                while not self._notifier.closing:
                    await self._take(subscription)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        """Wait for running work: an answer on its way must be recorded, so a second cancellation does not end it."""
        while self._running:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._running)

    async def _take(self, subscription: Subscription) -> None:
        free = self._spec.at_once - len(self._running)
        taken = await self._store.claim(self._spec.states, free, self._spec.lease_seconds)
        failed = await self._parking.counts(self._spec.loop, [generation.id for generation in taken])
        for generation in taken:
            task = asyncio.create_task(self._do(generation, failed.get(generation.id, 0)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if not taken:
            await subscription.wait(LOOK_SECONDS)

    async def _do(self, generation: Generation, failed: int) -> None:
        """Do one piece of work. Whatever fails, the lease ends and the work is claimed again, unless it is parked."""
        try:
            async with renewing(self._store, generation, self._spec.lease_seconds):
                fault = await self._parking.attempt(
                    self._spec.loop,
                    generation.id,
                    partial(self._worked, generation),
                    failed=failed,
                    expected=EXPECTED,
                    before_parking=partial(self._spec.before_parking, generation),
                )
            if fault:
                due_in = 0.0 if fault.parked else fault.pause_seconds
                await self._store.touch(generation, Change(due_in=due_in, tries=generation.tries))
        except FenceLost:
            logger.info("fence_lost", generation=generation.id, state=generation.state)
        except TRANSIENT as error:
            logger.warning("work_postponed", generation=generation.id, cause=error.message)
        except Exception:  # a supervisor: one poisoned generation must not stop the others
            logger.exception("work_failed", generation=generation.id, state=generation.state, tries=generation.tries)

    async def _worked(self, generation: Generation) -> None:
        with failpoints.work_on(generation.id):
            await self._work(generation)


@asynccontextmanager
async def renewing(store: GenerationStore, generation: Generation, seconds: float) -> AsyncIterator[None]:
    """Renew a generation's lease while inside."""
    task = asyncio.create_task(_renew(store, generation, seconds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew(store: GenerationStore, generation: Generation, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds / RENEWALS)
        with suppress(Unavailable):  # the next turn comes before the lease ends
            await store.renew(generation, seconds)
