"""Reconciles the counts of lists with the shares: while two versions run, one may count by other rules."""

import asyncio

import structlog

from services.share import metrics
from services.share.ports import ShareStore

HOUR_SECONDS = 3600.0

logger = structlog.get_logger()


class Reconciliation:
    """A loop that compares the counts with the shares when it starts and every so many hours, and corrects them."""

    def __init__(self, store: ShareStore, hours: float) -> None:
        self._store, self._hours = store, hours

    async def run(self) -> None:
        """Reconcile every `hours` until cancelled; never with 0."""
        while self._hours:
            await self.reconcile()
            await asyncio.sleep(self._hours * HOUR_SECONDS)
        await asyncio.Event().wait()

    async def reconcile(self) -> int:
        """Reconcile once; returns the drift. Raises Unavailable when the database is."""
        found = await self._store.reconcile()
        metrics.DRIFT.set(found)
        if found:
            metrics.MENDED.inc(found)
            logger.warning("share_counts_mended", drift=found)
        return found
