"""Brings the counts of the lists in step with the shares: while two versions run, one may count by other rules."""

import asyncio

import structlog

from services.share import metrics
from services.share.ports import ShareStore

HOUR_SECONDS = 3600.0

logger = structlog.get_logger()


class Reconciliation:
    """A loop that compares the counts with the shares when it starts and every so many hours, and mends them."""

    def __init__(self, store: ShareStore, hours: float) -> None:
        self._store, self._hours = store, hours

    async def run(self) -> None:
        """Compare again and again until cancelled; not at all with 0 hours."""
        while self._hours:
            await self.reconcile()
            await asyncio.sleep(self._hours * HOUR_SECONDS)
        await asyncio.Event().wait()

    async def reconcile(self) -> int:
        """Compare once and mend; the drift that was found. Raises Unavailable when the database is away."""
        found = await self._store.reconcile()
        metrics.DRIFT.set(found)
        if found:
            metrics.MENDED.inc(found)
            logger.warning("share_counts_mended", drift=found)
        return found
