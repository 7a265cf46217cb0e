"""Lets shares go after their time, where an operator has set one; by default they stay for good."""

import asyncio

from services.share.ports import Clock, ShareStore

DAY_MS = 86_400_000
BATCH = 100  # deleted in one transaction, which other writers wait for
LOOK_SECONDS = 60.0  # days are long: nobody misses a minute


class Expiry:
    """A loop that deletes shares which are older than so many days; with 0 it deletes none."""

    def __init__(self, store: ShareStore, days: int, clock: Clock) -> None:
        self._store, self._days, self._clock = store, days, clock

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            if self._days:
                await self.expire()
            await asyncio.sleep(LOOK_SECONDS)

    async def expire(self) -> None:
        """Delete all whose time is over. Raises Unavailable when the database is away; the rest waits then."""
        while len(await self._store.expire(self._clock() - self._days * DAY_MS, BATCH)) == BATCH:
            pass
