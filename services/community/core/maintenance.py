"""Background work and admin operations: score decay, the deletion queue, reconciliation, read models, reports."""

import asyncio
from collections.abc import Sequence

import structlog

from services.chassis import failpoints
from services.chassis.errors import Unavailable
from services.chassis.lease_loop import LeasedWork, LeaseLoop
from services.chassis.parking import Parking, WorkFault
from services.community import metrics
from services.community.core import page_tokens, validation
from services.community.model import DeletionKind, Drift, GenerationStatus, QueuedDeletion, Report, Unclear
from services.community.model.parking import DELETIONS
from services.community.ports import (
    ArtworkStore,
    Clock,
    DeletionQueue,
    Generations,
    Lists,
    Objects,
    ReactionStore,
    Rebuilder,
    UserStore,
)

DECAY_SECONDS = 5.0  # how late decay may show in a score; its steps are hours or days
DECAY_BATCH = 200  # rows of one transaction, so that reactions do not wait long
DELETION_SECONDS, DELETIONS_AT_ONCE, DELETION_LEASE_SECONDS = 2.0, 20, 60.0
# The time that a lease must have left when a deletion begins: above the default deadline of its call.
DELETION_CALL_SECONDS = 15.0
AUDIT_BATCH = 200  # artworks that are counted, and locked, at once
REPORTS = "reports"

logger = structlog.get_logger()


class ScoreDecay:
    """Recomputes the hot scores that have decayed with age."""

    def __init__(self, artwork_store: ArtworkStore, lists: Lists, clock: Clock) -> None:
        self._artwork_store, self._lists, self._clock = artwork_store, lists, clock

    async def run(self) -> None:
        """Recompute decayed scores until cancelled."""
        while True:
            if await self.decay_due() < DECAY_BATCH:
                await asyncio.sleep(DECAY_SECONDS)

    async def decay_due(self) -> int:
        """Recompute one batch; returns its size."""
        changed = await self._artwork_store.decay_scores(self._clock(), DECAY_BATCH)
        if changed:
            await self._lists.scores_decayed()
        return changed


class DeletionWorker:
    """Processes the deletion queue: has objects deleted and generations forgotten; failed entries are retried."""

    def __init__(self, queue: DeletionQueue, objects: Objects, generations: Generations, parking: Parking) -> None:
        self._queue, self._objects, self._generations = queue, objects, generations
        work = LeasedWork(
            loop=DELETIONS,
            claim=self._claim,
            do=self._done,
            failed=self._failed,
            postponed=self._postponed,
            at_once=DELETIONS_AT_ONCE,
            lease_seconds=DELETION_LEASE_SECONDS,
            begin_seconds=DELETION_CALL_SECONDS,
        )
        self._loop = LeaseLoop(work, parking)

    async def run(self) -> None:
        """Process the queue until cancelled."""
        await self._loop.run(DELETION_SECONDS)

    async def delete_due(self) -> int:
        """Process due entries once; returns their number. None is begun after the end of its lease."""
        return await self._loop.do_due()

    async def _claim(self, limit: int) -> Sequence[QueuedDeletion]:
        """Lease due entries; when there are none, purge the queue of old ones."""
        deletions = await self._queue.claim(limit, DELETION_LEASE_SECONDS)
        while not deletions and await self._queue.purge():
            pass
        return deletions

    async def _failed(self, deletion: QueuedDeletion, fault: WorkFault) -> None:
        await self._queue.postpone(deletion, fault.pause_seconds)

    async def _postponed(self, deletion: QueuedDeletion, error: Exception) -> None:
        logger.warning("object_not_removed", kind=deletion.kind, cause=str(error))

    async def _done(self, deletion: QueuedDeletion) -> None:
        await self._delete(deletion)
        await failpoints.reach("object.removed")
        await self._queue.complete(deletion)

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


class AdminOperations:
    """The operations of the admin service."""

    def __init__(self, reactions: ReactionStore, users: UserStore, rebuilder: Rebuilder) -> None:
        self._reactions, self._users, self._rebuilder = reactions, users, rebuilder

    async def reconcile(self, *, mend: bool) -> Drift:
        """Compare all counts with their rows, and correct them if asked to; returns the drift."""
        total, amount, last = 0, 0, ""
        names: tuple[str, ...] = ()
        while True:
            drift, last = await self._reactions.reconcile(last, AUDIT_BATCH, mend=mend)
            total, amount, names = total + drift.looked_at, amount + drift.amount, (*names, *drift.artwork_ids)
            if not last:
                break
        metrics.drifted(amount)
        return Drift(total, amount, names[:AUDIT_BATCH])

    async def rebuild(self) -> int:
        """Rebuild the read models; returns the number of keys written."""
        written, last = await self._rebuilder.common(), ""
        while users := await self._users.batch(last, AUDIT_BATCH):
            for user_id in users:
                written += await self._rebuilder.of_user(user_id)
            last = users[-1]
        return written

    async def reports(self, page_size: int, page_token: str) -> tuple[tuple[Report, ...], str]:
        """A page of users' reports, the latest first, and the token of the next page. Raises InvalidArgument."""
        size, after = validation.page_size(page_size), page_tokens.after_of(REPORTS, page_token)
        found = await self._reactions.reports(size + 1, after)
        if len(found) <= size:
            return found, ""
        last = found[size - 1]
        return found[:size], page_tokens.token(REPORTS, last.create_ms, f"{last.artwork_id} {last.user_id}")
