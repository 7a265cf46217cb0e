"""Sweeps out what has served: events that every consumer had time to read, and webhooks that were dealt with."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.generation.plan import Plan, jittered

SWEEP_SECONDS = 600.0  # what is kept for weeks may stay a little longer
BATCH = 500  # rows of one transaction: a few milliseconds, so that writers do not feel it

# Deletes at most so many rows older than so many seconds, the oldest first, and says how many it found.
Prune = Callable[[float, int], Awaitable[int]]

logger = structlog.get_logger()


class Sweeper:
    """Prunes the outbox and the inbox by age."""

    def __init__(self, prune_events: Prune, prune_callbacks: Prune, plan: Plan) -> None:
        self._prune_events = prune_events
        self._prune_callbacks = prune_callbacks
        self._plan = plan

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await self.sweep()
            await asyncio.sleep(jittered(SWEEP_SECONDS))

    async def sweep(self) -> None:
        """Delete all that is past its time. Raises Unavailable."""
        events = await exhausted(self._prune_events, self._plan.keep_events)
        callbacks = await exhausted(self._prune_callbacks, self._plan.keep_callbacks)
        if events or callbacks:
            logger.info("swept", events=events, callbacks=callbacks)


async def exhausted(prune: Prune, older_than: float) -> int:
    """Prune batch by batch until nothing is left; how many rows that were."""
    total = 0
    while found := await prune(older_than, BATCH):
        total += found
        await asyncio.sleep(0)  # let those go first who waited for the batch
    return total
