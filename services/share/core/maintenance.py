"""The background loops of the service: expiry of old shares, and reconciliation of the counts of lists.

Shares stay for good unless SHARE_EXPIRE_DAYS is set. Counts are reconciled with the shares because, while two versions
of the service run, one may count by other rules.
"""

import asyncio

import structlog
from prometheus_client import Counter, Gauge

from services.chassis.clock import Clock
from services.share.core.cached import CachedShares

DAY_MS = 86_400_000
BATCH = 100  # deleted in one transaction, which other writers wait for
LOOK_SECONDS = 60.0  # how late a share may expire
HOUR_SECONDS = 3600.0
DRIFT = Gauge("kawaii_share_count_drift", "By how much the counts of shares differed from the rows at the last look.")
MENDED = Counter("kawaii_share_count_mended", "By how much counts of shares were mended since the start.")

logger = structlog.get_logger()


class Expiry:
    """A loop that deletes shares which are older than so many days; with 0 it deletes none."""

    def __init__(self, cached: CachedShares, days: int, clock: Clock) -> None:
        self._cached, self._days, self._clock = cached, days, clock

    async def run(self) -> None:
        """Delete expired shares once a minute, until cancelled."""
        while True:
            if self._days:
                await self.expire()
            await asyncio.sleep(LOOK_SECONDS)

    async def expire(self) -> None:
        """Delete all expired shares. Raises Unavailable; the next round continues."""
        while len(await self._cached.expire(self._clock() - self._days * DAY_MS, BATCH)) == BATCH:
            pass


class Reconciliation:
    """A loop that compares the counts with the shares when it starts and every so many hours, and corrects them."""

    def __init__(self, cached: CachedShares, hours: float) -> None:
        self._cached, self._hours = cached, hours

    async def run(self) -> None:
        """Reconcile every `hours` until cancelled; never with 0."""
        while self._hours:
            await self.reconcile()
            await asyncio.sleep(self._hours * HOUR_SECONDS)
        await asyncio.Event().wait()

    async def reconcile(self) -> int:
        """Reconcile once; returns the drift. Raises Unavailable."""
        found = await self._cached.reconcile()
        DRIFT.set(found)
        if found:
            MENDED.inc(found)
            logger.warning("share_counts_mended", drift=found)
        return found
