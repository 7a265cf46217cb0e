"""Lists and releases parked work, at which our own code failed again and again."""

from collections.abc import Sequence

from services.chassis.errors import NotFound
from services.chassis.parking import Parking, WorkFault
from services.community.model.parking import ORDERS
from services.community.ports import OrderStore


class ParkedWork:
    """Parked work of the community's lease loops."""

    def __init__(self, parking: Parking, orders: OrderStore) -> None:
        self._parking, self._orders = parking, orders

    async def listed(self) -> Sequence[WorkFault]:
        """All parked work, the latest first."""
        return await self._parking.listed()

    async def release(self, loop: str, work_id: str) -> None:
        """Release parked work, so that it is tried again; an order that was given up is resumed.

        Raises:
            NotFound: nothing of this loop and id is parked (reason NOT_PARKED).
        """
        parked = {(fault.loop, fault.work_id) for fault in await self._parking.listed()}
        if (loop, work_id) not in parked:
            raise NotFound(
                "Nothing of this loop and id is parked. ListParkedCommunityWork shows what is.", "NOT_PARKED"
            )
        if loop == ORDERS:
            await self._orders.revive(work_id)
        await self._parking.release(loop, work_id)

    async def measure(self) -> None:
        """Set the gauge of parked work. Raises Unavailable."""
        await self._parking.measure()
