"""What goes on behind the counter: scores that age, bytes to remove, counts to prove and read models to write anew."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog

from services.chassis import failpoints
from services.chassis.errors import Unavailable
from services.chassis.parking import TRANSIENT, Parking
from services.community import metrics
from services.community.core import checks, pages
from services.community.model import Deletion, DeletionKind, Drift, Report, Told, Unclear
from services.community.model.parking import DELETIONS
from services.community.ports import (
    Bin,
    Clock,
    Generations,
    Lists,
    Objects,
    PeopleStore,
    ReactionStore,
    Rebuilder,
    WorkStore,
)

COOL_SECONDS = 5.0  # how late age may show in a score; a step of age is an hour at least
COOL_BATCH = 200  # rows of one transaction, so that reactions do not wait long
SWEEP_SECONDS, SWEEP_BATCH, SWEEP_LEASE_SECONDS = 2.0, 20, 60.0
# What is left of a lease when the last deletion is begun: above the default deadline of the call that asks for it.
SWEEP_CALL_SECONDS = 15.0
AUDIT_BATCH = 200  # artworks that are counted, and locked, at once
REPORTS = "reports"

logger = structlog.get_logger()


class Thermostat:
    """Works out the scores that age has changed."""

    def __init__(self, works: WorkStore, lists: Lists, clock: Clock) -> None:
        self._works, self._lists, self._clock = works, lists, clock

    async def run(self) -> None:
        """Cool until cancelled."""
        while True:
            if await self.cool() < COOL_BATCH:
                await asyncio.sleep(COOL_SECONDS)

    async def cool(self) -> int:
        """One round; how many there were."""
        changed = await self._works.warm(self._clock(), COOL_BATCH)
        if changed:
            await self._lists.cooled()
        return changed


class Sweeper:
    """Works off the deletion queue: has objects deleted and generations forgotten; what fails comes again."""

    def __init__(
        self,
        bin_: Bin,
        objects: Objects,
        generations: Generations,
        parking: Parking,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bin, self._objects, self._generations, self._parking = bin_, objects, generations, parking
        self._monotonic = monotonic

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            if not await self.sweep():
                await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """One round; how many were due. None is begun behind the end of the lease, when others may have begun it."""
        end = self._monotonic() + SWEEP_LEASE_SECONDS - SWEEP_CALL_SECONDS
        deletions = await self._bin.claim(SWEEP_BATCH, SWEEP_LEASE_SECONDS)
        failed = await self._parking.counts(DELETIONS, [deletion.key for deletion in deletions])
        for deletion in deletions:
            if self._monotonic() > end:
                break
            done = partial(self._done, deletion)
            try:
                fault = await self._parking.attempt(DELETIONS, deletion.key, done, failed=failed.get(deletion.key, 0))
            except TRANSIENT as error:
                logger.warning("object_not_removed", kind=deletion.kind, cause=error.message)
                continue
            if fault:
                await self._bin.postpone(deletion, 0.0 if fault.parked else fault.pause_seconds)
        return len(deletions) or await self._bin.purge()

    async def _done(self, deletion: Deletion) -> None:
        await self._delete(deletion)
        await failpoints.reach("object.removed")
        await self._bin.empty(deletion)

    async def _delete(self, deletion: Deletion) -> None:
        match deletion.kind:
            case DeletionKind.OBJECT:
                await self._objects.delete(deletion.key)
            case DeletionKind.GENERATION:
                await self._generations.forget(deletion.key)
            case DeletionKind.ORDER:
                await self._forget_order(deletion.key)

    async def _forget_order(self, order_id: str) -> None:
        match await self._generations.find(order_id):
            case Told(generation_id=generation_id):
                await self._generations.forget(generation_id)
            case Unclear():
                raise Unavailable("Generation does not say what an order has made.")


class Office:
    """What operators ask for."""

    def __init__(self, reactions: ReactionStore, people: PeopleStore, rebuilder: Rebuilder) -> None:
        self._reactions, self._people, self._rebuilder = reactions, people, rebuilder

    async def reconcile(self, *, mend: bool) -> Drift:
        """Compare every count with its rows, and mend it if asked to; drift is what was found."""
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
        """Write the read models anew; how many keys were written."""
        written, last = await self._rebuilder.common(), ""
        while people := await self._people.batch(last, AUDIT_BATCH):
            for user_id in people:
                written += await self._rebuilder.of_user(user_id)
            last = people[-1]
        return written

    async def reports(self, page_size: int, page_token: str) -> tuple[tuple[Report, ...], str]:
        """What people reported, the latest first, and the token of the next page. Raises InvalidArgument."""
        size, after = checks.page_size(page_size), pages.after_of(REPORTS, page_token)
        found = await self._reactions.reports(size + 1, after)
        if len(found) <= size:
            return found, ""
        last = found[size - 1]
        return found[:size], pages.token(REPORTS, last.create_ms, f"{last.artwork_id} {last.user_id}")
