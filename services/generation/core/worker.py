"""Takes due work from the store and does a bounded number of pieces at once; the pattern under every loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog

from services.chassis import failpoints
from services.chassis.errors import Unavailable
from services.chassis.parking import TRANSIENT, Parking
from services.generation.bell import Bell, Ear
from services.generation.model import LOOP_OF, Generation, State
from services.generation.ports import Change, FenceLost, GenerationStore

LOOK_SECONDS = 1.0  # how late work of another replica, or a retry, may be noticed
RENEWALS = 3  # times a lease is renewed within its length
EXPECTED = (FenceLost, *TRANSIENT)  # no fault of the work

Work = Callable[[Generation], Awaitable[object]]

logger = structlog.get_logger()


async def unseen(_generation: Generation) -> None:
    """Nothing to show: the state says that it is under way."""


@dataclass(frozen=True)
class Round:
    """Which work to take, how much at once, for how long it is ours, and how its owner sees that it is parked."""

    states: Collection[State]
    topic: str
    at_once: int
    lease_seconds: float
    before_parking: Work = unseen

    @property
    def loop(self) -> str:
        """The loop's name in faults."""
        return LOOP_OF[next(iter(self.states))]


class Worker:
    """Runs one function over due generations until cancelled, then lets what is running finish."""

    def __init__(self, store: GenerationStore, parking: Parking, bell: Bell, round_: Round, work: Work) -> None:
        self._store = store
        self._parking = parking
        self._bell = bell
        self._round = round_
        self._work = work
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take and do work until the bell closes or this is cancelled; what is running is always brought to its end."""
        try:
            with self._bell.listening(self._round.topic) as ear:
                while not self._bell.closing:
                    await self._take(ear)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        """An answer that is on its way must be recorded, so a second cancellation does not cut it off either."""
        while self._running:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._running)

    async def _take(self, ear: Ear) -> None:
        room = self._round.at_once - len(self._running)
        taken = await self._store.claim(self._round.states, room, self._round.lease_seconds)
        failed = await self._parking.counts(self._round.loop, [generation.id for generation in taken])
        for generation in taken:
            task = asyncio.create_task(self._do(generation, failed.get(generation.id, 0)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if not taken:
            await ear.wait(LOOK_SECONDS)

    async def _do(self, generation: Generation, failed: int) -> None:
        """Do one piece. Whatever goes wrong, the lease ends and somebody takes it again, unless it is parked."""
        try:
            async with renewing(self._store, generation, self._round.lease_seconds):
                fault = await self._parking.attempt(
                    self._round.loop,
                    generation.id,
                    partial(self._worked, generation),
                    failed=failed,
                    expected=EXPECTED,
                    before_parking=partial(self._round.before_parking, generation),
                )
            if fault:
                due_in = 0.0 if fault.parked else fault.pause_seconds
                await self._store.touch(generation, Change(due_in=due_in, tries=generation.tries))
        except FenceLost:
            logger.info("fence_lost", generation=generation.id, state=generation.state)
        except TRANSIENT as error:
            logger.warning("work_postponed", generation=generation.id, cause=error.message)
        except Exception:  # a supervisor: one poisoned generation must not stop its neighbours
            logger.exception("work_failed", generation=generation.id, state=generation.state, tries=generation.tries)

    async def _worked(self, generation: Generation) -> None:
        with failpoints.work_on(generation.id):
            await self._work(generation)


@asynccontextmanager
async def renewing(store: GenerationStore, generation: Generation, seconds: float) -> AsyncIterator[None]:
    """Keep the lease while inside."""
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
