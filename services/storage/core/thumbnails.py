"""Makes the thumbnails of artworks unasked, from a queue in the database that the replicas share.

An artwork is queued in the transaction that writes its row, so that no crash forgets it, and leased by the replica that
makes its thumbnail. Once a minute artworks without a thumbnail are looked for that a version before the queue stored.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from prometheus_client import Counter

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import KawaiiError, NotFound, Unavailable
from services.chassis.lease_loop import LeasedWork, LeaseLoop
from services.chassis.notifier import Notifier
from services.chassis.parking import TRANSIENT, Unparked, WorkFault
from services.storage.core.variants import Variants
from services.storage.model import THUMBNAILS, MissingThumb
from services.storage.ports import ObjectStore

AT_ONCE = 2  # as many as clients' pictures are decoded at once by default
LEASE_SECONDS = 10.0  # how late another replica makes the thumbnail of one that died; renewed while it is being made
RETRY_SECONDS = 60.0  # after a failure that passes
LATER_SECONDS = 3600.0  # after any other: a picture that cannot be decoded now hardly ever will be
TRIED_MS = 24 * 3600 * 1000  # how long it is tried
LOOK_SECONDS = 60.0
BATCH = 100  # artworks of one look

MADE = Counter("kawaii_thumbnails_total", "Thumbnails that this process has made.")

logger = structlog.get_logger()


class Thumbnails:
    """The loops that make missing thumbnails."""

    def __init__(
        self, variants: Variants, database: Database, store: ObjectStore, clock: Clock, notifier: Notifier | None = None
    ) -> None:
        self._variants, self._database, self._store, self._clock = variants, database, store, clock
        work = LeasedWork(
            loop=THUMBNAILS,
            claim=self._claim,
            do=self._do,
            failed=self._failed,
            postponed=self._postponed,
            at_once=AT_ONCE,
            lease_seconds=LEASE_SECONDS,
            renew=lambda piece: database.write_urgently(store.postpone_thumb, piece.id, LEASE_SECONDS),
            expected=(KawaiiError,),
        )
        self._loop = LeaseLoop(work, Unparked(), notifier, THUMBNAILS)

    async def run(self) -> None:
        """Make queued thumbnails until cancelled."""
        await self._loop.run()

    async def look(self) -> None:
        """Queue artworks without a thumbnail once a minute, until cancelled."""
        while True:
            with suppress(Unavailable):  # a later look finds them
                await self.look_once()
            await asyncio.sleep(LOOK_SECONDS)

    async def look_once(self) -> None:
        """Queue artworks without a thumbnail that were stored lately and are not queued."""
        missing = await self._database.read(self._store.without_thumb, self._clock() - TRIED_MS, BATCH)
        if missing:
            await self._database.write(self._store.queue_thumbs, missing)

    async def make_due(self) -> None:
        """Make all thumbnails that are queued and due."""
        while await self._loop.do_due():
            pass

    async def _claim(self, limit: int) -> Sequence[MissingThumb]:
        if not await self._database.read(self._store.any_thumb_due):
            return ()  # so that an idle stack writes nothing
        return await self._database.write_urgently(self._store.claim_thumbs, limit, LEASE_SECONDS)

    async def _do(self, piece: MissingThumb) -> None:
        with suppress(NotFound):  # deleted meanwhile
            await self._variants.make_thumb(piece.id)
            MADE.inc()
        await self._database.write(self._store.end_thumb, piece.id)

    async def _failed(self, piece: MissingThumb, _fault: WorkFault) -> None:
        await self._again(piece, LATER_SECONDS)

    async def _postponed(self, piece: MissingThumb, error: Exception) -> None:
        logger.warning("thumbnail_failed", key=piece.id, reason=getattr(error, "reason", type(error).__name__))
        await self._again(piece, RETRY_SECONDS if isinstance(error, TRANSIENT) else LATER_SECONDS)

    async def _again(self, piece: MissingThumb, seconds: float) -> None:
        if piece.queue_ms < self._clock() - TRIED_MS:
            await self._database.write(self._store.end_thumb, piece.id)
        else:
            await self._database.write(self._store.postpone_thumb, piece.id, seconds)
