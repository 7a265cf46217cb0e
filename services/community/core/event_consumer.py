"""Consumes generation's events from the stored cursor on: read at least once, applied exactly once."""

import asyncio
from functools import partial

import structlog

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.parking import TRANSIENT, guarded
from services.community import metrics
from services.community.model import GenerationStatus, OrderState, UnreadableEvent
from services.community.ports import Generations, OrderStore

EVENTS = "events"  # the loop's name in logs; a failed event is not parked, its order is due instead
PAUSE_SECONDS = 1.0  # before the stream is opened again after generation was unavailable

logger = structlog.get_logger()


class EventConsumer:
    """Reads events and applies them; the cursor moves in the same transaction."""

    def __init__(self, database: Database, store: OrderStore, generations: Generations) -> None:
        self._database, self._store, self._generations = database, store, generations

    async def run(self) -> None:
        """Consume events until cancelled."""
        while True:
            try:
                await self.consume_stream()
            except TRANSIENT as error:
                logger.warning("events_away", cause=error.message)
            await asyncio.sleep(PAUSE_SECONDS)

    async def consume_stream(self) -> None:
        """Read from the cursor on until the stream ends. Raises Unavailable."""
        async for status in self._generations.events(await self._database.read(self._store.cursor)):
            await self.consume(status)

    async def consume(self, status: GenerationStatus | UnreadableEvent) -> None:
        """Apply an event; one at which our own code fails is skipped.

        Its order is due then: the loop of orders reads its state from generation until it has ended or is parked.
        """
        if await guarded(EVENTS, str(status.event_sequence), partial(self._consume, status)):
            await self._database.write(self._store.pass_over, status)

    async def _consume(self, status: GenerationStatus | UnreadableEvent) -> None:
        """Apply an event; one that changes nothing need not move the cursor."""
        if isinstance(status, UnreadableEvent):
            raise status.error
        if status.state is not OrderState.PENDING:
            await failpoints.reach("event.read")
            concerned = await self._database.read(self._store.concerns, status)
            applied = await self._database.write(self._store.apply, status) if concerned else None
            metrics.event_consumed(status.event_sequence, applied)
