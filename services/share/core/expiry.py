"""Deletes shares after SHARE_EXPIRE_DAYS; by default they stay for good."""

import asyncio

from services.share.ports import Clock, ShareStore

DAY_MS = 86_400_000
BATCH = 100  # deleted in one transaction, which other writers wait for
LOOK_SECONDS = 60.0  # how late a share may expire


class Expiry:
    """A loop that deletes shares which are older than so many days; with 0 it deletes none."""

    def __init__(self, store: ShareStore, days: int, clock: Clock) -> None:
        self._store, self._days, self._clock = store, days, clock

    async def run(self) -> None:
        """Delete expired shares once a minute, until cancelled."""
        while True:
            if self._days:
                await self.expire()
            await asyncio.sleep(LOOK_SECONDS)

    async def expire(self) -> None:
        """Delete all expired shares. Raises Unavailable when the database is; the next round goes on."""
        while len(await self._store.expire(self._clock() - self._days * DAY_MS, BATCH)) == BATCH:
            pass
