"""Leases: work on a generation is one worker's for some seconds, and is renewed while it lasts.

What is written here goes before all other transactions: a lease runs out.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.lease_loop import renewing
from services.generation.model import Generation, State
from services.generation.ports import GenerationStore


class Leases:
    """Leases generations for so many seconds."""

    def __init__(self, database: Database, store: GenerationStore, seconds: float) -> None:
        self._database = database
        self._store = store
        self.seconds = seconds

    async def claim(self, states: Collection[State], limit: int) -> Sequence[Generation]:
        """Take work that is due; it is looked for before anything is written, so that an idle stack writes nothing."""
        if limit < 1 or not await self._database.read(self._store.any_due, states):
            return []
        taken = await self._database.write_urgently(self._store.claim, states, limit, self.seconds)
        await failpoints.reach("claim.after")
        return taken

    async def renew(self, generation: Generation) -> None:
        """Prolong a lease. Raises FenceLost."""
        await self._database.write_urgently(self._store.renew, generation, self.seconds)
        await failpoints.reach("lease.renewed")

    @asynccontextmanager
    async def held(self, generation: Generation) -> AsyncIterator[Generation]:
        """The generation, leased in whatever state it is and kept so while inside.

        Raises:
            FenceLost: it has changed since it was read, or another worker holds it.
        """
        held = await self._database.write_urgently(self._store.hold, generation, self.seconds)
        async with renewing(partial(self.renew, held), self.seconds):
            yield held
