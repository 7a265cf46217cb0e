"""Takes due work from the store and does a bounded number of pieces at once; the pattern under every loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from services.chassis import failpoints
from services.chassis.errors import Unavailable
from services.generation.bell import Bell, Ear
from services.generation.model import Generation, State
from services.generation.ports import FenceLost, GenerationStore

LOOK_SECONDS = 1.0  # how late work of another replica, or a retry, may be noticed
RENEWALS = 3  # times a lease is renewed within its length

Work = Callable[[Generation], Awaitable[object]]

logger = structlog.get_logger()


@dataclass(frozen=True)
class Round:
    """Which work to take, how much at once, and for how long it is ours."""

    states: Collection[State]
    topic: str
    at_once: int
    lease_seconds: float


class Worker:
    """Runs one function over due generations until cancelled, then lets what is running finish."""

    def __init__(self, store: GenerationStore, bell: Bell, round_: Round, work: Work) -> None:
        self._store = store
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
        for generation in taken:
            task = asyncio.create_task(self._do(generation))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if not taken:
            await ear.wait(LOOK_SECONDS)

    async def _do(self, generation: Generation) -> None:
        """Do one piece. Whatever goes wrong, the lease ends and somebody takes it again."""
        try:
            async with renewing(self._store, generation, self._round.lease_seconds):
                with failpoints.work_on(generation.id):
                    await self._work(generation)
        except FenceLost:
            logger.info("fence_lost", generation=generation.id, state=generation.state)
        except Unavailable as error:
            logger.warning("work_postponed", generation=generation.id, cause=error.message)
        except Exception:  # a supervisor: one poisoned generation must not stop its neighbours
            logger.exception("work_failed", generation=generation.id, state=generation.state, tries=generation.tries)


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
