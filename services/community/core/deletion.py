"""The worker of the deletion queue: has objects deleted by storage, and generations forgotten by generation."""

from collections.abc import Sequence

import structlog

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.errors import Unavailable
from services.chassis.lease_loop import LeasedWork, LeaseLoop
from services.chassis.parking import Parking, WorkFault
from services.community.model import DeletionKind, GenerationStatus, QueuedDeletion, Unclear
from services.community.model.users import DELETIONS
from services.community.ports import DeletionQueue, Generations, Objects

LOOK_SECONDS = 2.0  # between two queries for entries that are due
AT_ONCE = 20  # deletions that are under way concurrently
LEASE_SECONDS = 60.0
CALL_SECONDS = 15.0  # what the lease must have left when a deletion begins: above the default deadline of its call

logger = structlog.get_logger()


class DeletionWorker:
    """Processes the deletion queue: has objects deleted and generations forgotten; failed entries are retried."""

    def __init__(
        self, database: Database, queue: DeletionQueue, objects: Objects, generations: Generations, parking: Parking
    ) -> None:
        self._database, self._queue, self._objects, self._generations = database, queue, objects, generations
        work = LeasedWork(
            loop=DELETIONS,
            claim=self._claim,
            do=self._done,
            failed=self._failed,
            postponed=self._postponed,
            at_once=AT_ONCE,
            lease_seconds=LEASE_SECONDS,
            begin_seconds=CALL_SECONDS,
        )
        self._loop = LeaseLoop(work, parking)

    async def run(self) -> None:
        """Process the queue until cancelled."""
        await self._loop.run(LOOK_SECONDS)

    async def delete_due(self) -> int:
        """Process due entries once; returns their number. None is begun after the end of its lease."""
        return await self._loop.do_due()

    async def _claim(self, limit: int) -> Sequence[QueuedDeletion]:
        """Lease due entries; when there are none, purge the queue of old ones."""
        deletions = await self._database.write_urgently(self._queue.claim, limit, LEASE_SECONDS)
        if not deletions:
            await self._purge()
        return deletions

    async def _purge(self) -> None:
        purged = 1
        while purged:
            purged = await self._database.write(self._queue.purge)

    async def _failed(self, deletion: QueuedDeletion, fault: WorkFault) -> None:
        await self._database.write(self._queue.postpone, deletion, fault.pause_seconds)

    async def _postponed(self, deletion: QueuedDeletion, error: Exception) -> None:
        logger.warning("object_not_removed", kind=deletion.kind, cause=str(error))

    async def _done(self, deletion: QueuedDeletion) -> None:
        await self._delete(deletion)
        await failpoints.reach("object.removed")
        await self._database.write(self._queue.complete, deletion)

    async def _delete(self, deletion: QueuedDeletion) -> None:
        match deletion.kind:
            case DeletionKind.OBJECT:
                await self._objects.delete(deletion.key)
            case DeletionKind.GENERATION:
                await self._generations.forget(deletion.key)
            case DeletionKind.ORDER:
                await self._forget_order(deletion.key)

    async def _forget_order(self, order_id: str) -> None:
        match await self._generations.find(order_id):
            case GenerationStatus(generation_id=generation_id):
                await self._generations.forget(generation_id)
            case Unclear():
                raise Unavailable("Generation does not say what an order has made.")
