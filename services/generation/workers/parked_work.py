"""Parked work of generation: the state that owners see before work is parked, and how operators list and release it."""

from collections.abc import Sequence
from dataclasses import replace

from services.chassis.database import Database
from services.chassis.errors import NotFound
from services.chassis.notifier import Notifier
from services.chassis.parking import Parking, WorkFault
from services.generation.model import Failure, Generation, State
from services.generation.ports import Change, FenceLost, GenerationStore

PARKED = "PARKED"  # the reason of a generation that ended because our own code fails at it
NOT_SENT = Failure(
    PARKED, "A fault of this site kept the order from being sent. Nothing was billed. Order again once it is mended."
)
NOT_READ = Failure(
    PARKED, "A fault of this site keeps the upstream's record from being read. It is read again once that is mended."
)
NOT_COPIED = "A fault of this site keeps the picture from being copied. It is copied once that is mended."


class ParkedWork:
    """Work at which our own code fails again and again: states for owners, a list and a release for operators."""

    def __init__(self, database: Database, store: GenerationStore, parking: Parking, notifier: Notifier) -> None:
        self._database = database
        self._store = store
        self._parking = parking
        self._notifier = notifier

    async def unsent(self, generation: Generation) -> None:
        """End an order of which provably nothing was sent. An order that may have been sent is left to recovery."""
        now = await self._still_held(generation)
        if now.state is State.DIALING:
            now = await self._database.write(self._store.move, now, State.READY)
        if now.state is State.READY:
            await self._database.write(self._store.move, now, State.EXPIRED, Change(failure=NOT_SENT))

    async def unread(self, generation: Generation) -> None:
        """Show a task whose record we cannot read as UNKNOWN."""
        now = await self._still_held(generation)
        if now.state is State.RUNNING:
            await self._database.write(self._store.move, now, State.UNKNOWN, Change(failure=NOT_READ))

    async def uncopied(self, generation: Generation) -> None:
        """Show the upstream's URLs of pictures that we cannot copy."""
        now = await self._still_held(generation)
        shown = tuple(replace(output, error=NOT_COPIED) for output in now.outputs if not output.settled)
        await self._database.write(self._store.touch, now, Change(outputs=shown))

    async def listed(self) -> Sequence[WorkFault]:
        """Parked work, the latest first."""
        return await self._parking.listed()

    async def release(self, loop: str, work_id: str) -> None:
        """Have parked work tried again; an order that ended unsent becomes READY anew.

        Raises:
            NotFound: nothing of this loop and id is parked (reason NOT_PARKED).
        """
        await self._parking.require_parked(loop, work_id, "ListParkedWork")
        await self._restart(work_id)
        await self._parking.release(loop, work_id)
        self._notifier.notify(*State, "inbox")

    async def _restart(self, work_id: str) -> None:
        try:
            generation = await self._database.read(self._store.get, work_id)
            if generation.state is State.EXPIRED and generation.failure and generation.failure.reason == PARKED:
                await self._database.write(self._store.restart, generation)
        except (NotFound, FenceLost):  # the work is a callback, or the generation has changed
            return

    async def _still_held(self, generation: Generation) -> Generation:
        """The generation as it is now. Raises FenceLost when another worker has claimed it."""
        now = await self._database.read(self._store.get, generation.id)
        if now.fence != generation.fence:
            raise FenceLost(generation.id)
        return now
