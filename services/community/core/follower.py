"""Follows generation's events from where it stood: each is heard at least once, and has its effect once."""

import asyncio

import structlog

from services.chassis import failpoints
from services.chassis.parking import TRANSIENT, told_failure
from services.community import metrics
from services.community.model import OrderState, Told, Unread
from services.community.model.parking import EVENTS
from services.community.ports import Generations, OrderStore

PAUSE_SECONDS = 1.0  # before generation is asked again when it was away

logger = structlog.get_logger()


class Follower:
    """Reads events and has the store believe them; the cursor moves in the transaction of the effect."""

    def __init__(self, store: OrderStore, generations: Generations) -> None:
        self._store, self._generations = store, generations

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self.follow()
            except TRANSIENT as error:
                logger.warning("events_away", cause=error.message)
            await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self) -> None:
        """Read from the cursor on until the stream ends. Raises Unavailable."""
        async for told in self._generations.events(await self._store.cursor()):
            await self.hear(told)

    async def hear(self, told: Told | Unread) -> None:
        """Have an event take its effect; one that our own code fails at is passed over.

        Its order is due then: the loop of orders asks how it stands, again and again, until it is done or parked.
        """
        try:
            await self._heard(told)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - a supervisor: one poisoned event must not stop those behind it
            told_failure(EVENTS, str(told.event_sequence), error)
            await self._store.pass_over(told)

    async def _heard(self, told: Told | Unread) -> None:
        """Believe an event; one that changes nothing may be read again, and moves no cursor."""
        if isinstance(told, Unread):
            raise told.error
        if told.state is not OrderState.PENDING:
            await failpoints.reach("event.read")
            metrics.heard(told.event_sequence, await self._store.hear(told))
