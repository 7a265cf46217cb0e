"""What operators do: reconcile counts, rebuild read models, read reports, and release parked work.

Work is parked when our own code failed at it again and again (services/chassis/parking.py).
"""

from collections.abc import Sequence

from services.chassis import paging
from services.chassis.database import Database
from services.chassis.parking import Parking, WorkFault
from services.community import metrics
from services.community.core import page_tokens, validation
from services.community.model import Drift, Report
from services.community.model.orders import ORDERS
from services.community.ports import Lists, OrderStore, ReactionStore, UserStore

BATCH = 200  # artworks that are counted, and locked, at once; also users whose read models are rebuilt
REPORTS = "reports"  # what the page tokens of reports are bound to


class AdminOperations:
    """The operations of the admin service."""

    def __init__(
        self,
        database: Database,
        reactions: ReactionStore,
        users: UserStore,
        lists: Lists,
        *,
        orders: OrderStore,
        parking: Parking,
    ) -> None:
        self._database, self._reactions, self._users, self._lists = database, reactions, users, lists
        self._orders, self._parking = orders, parking

    async def reconcile(self, *, mend: bool) -> Drift:
        """Compare all counts with their rows, and correct them if asked to; returns the drift."""
        run = self._database.write if mend else self._database.read
        total, amount, last = 0, 0, ""
        names: tuple[str, ...] = ()
        while True:
            drift, last = await run(self._reactions.reconcile, last, BATCH, mend=mend)
            total, amount, names = total + drift.looked_at, amount + drift.amount, (*names, *drift.artwork_ids)
            if not last:
                break
        metrics.drifted(amount)
        return Drift(total, amount, names[:BATCH])

    async def rebuild(self) -> int:
        """Rebuild the read models; returns the number of keys written."""
        written, last = await self._lists.rebuild_common(), ""
        while users := await self._database.read(self._users.batch, last, BATCH):
            for user_id in users:
                written += await self._lists.rebuild_of_user(user_id)
            last = users[-1]
        return written

    async def reports(self, page_size: int, page_token: str) -> tuple[tuple[Report, ...], str]:
        """A page of users' reports, the latest first, and the token of the next page. Raises InvalidArgument."""
        size = paging.page_size(page_size, validation.DEFAULT_PAGE_SIZE, validation.MAX_PAGE_SIZE)
        after = page_tokens.after_of(REPORTS, page_token)
        found = await self._database.read(self._reactions.reports, size + 1, after)
        if len(found) <= size:
            return found, ""
        last = found[size - 1]
        return found[:size], page_tokens.token(REPORTS, last.create_ms, f"{last.artwork_id} {last.user_id}")

    async def parked(self) -> Sequence[WorkFault]:
        """The parked work of all lease loops, the latest first."""
        return await self._parking.listed()

    async def release(self, loop: str, work_id: str) -> None:
        """Release parked work, so that it is tried again; an order that was given up is resumed.

        Raises:
            NotFound: nothing of this loop and id is parked (reason NOT_PARKED).
        """
        await self._parking.require_parked(loop, work_id, "ListParkedCommunityWork")
        if loop == ORDERS:
            await self._database.write(self._orders.revive, work_id)
        await self._parking.release(loop, work_id)
