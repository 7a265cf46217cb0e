"""The inbox on SQL: each method is one transaction; a webhook is kept once, and read by one reader at a time."""

from collections.abc import Sequence

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.unbroken import unbroken
from services.generation import metrics
from services.generation.bell import Bell
from services.generation.model import Callback
from services.generation.stores import inbox


@unbroken
class SqlInbox:
    """Keeps webhooks on SQLite or PostgreSQL."""

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    async def strangers(self) -> int:
        """See letterbox."""
        async with self._database.read() as connection:
            return await inbox.strangers(connection)

    async def tasks_of(self, attempt_id: str) -> int:
        """See letterbox."""
        async with self._database.read() as connection:
            return await inbox.tasks_of(connection, attempt_id)

    async def keep(self, callback: Callback) -> bool:
        """See letterbox."""
        async with self._database.write() as connection:
            new = await inbox.add(connection, callback)
            await failpoints.reach("inbox.before_commit")
        await failpoints.reach("inbox.after_commit")
        if not new:
            metrics.called_back("duplicate")
        self._bell.ring("inbox")
        return new

    async def take(self, limit: int) -> Sequence[Callback]:
        """See letterbox."""
        async with self._database.write() as connection:
            return await inbox.take(connection, limit)

    async def finish(self, callback: Callback, verdict: str) -> None:
        """See letterbox."""
        async with self._database.write() as connection:
            closed = await inbox.finish(connection, callback, verdict)
        if closed:
            metrics.called_back(verdict)

    async def renew(self, callback: Callback) -> None:
        """See letterbox."""
        await self.postpone(callback, inbox.TAKEN_SECONDS)

    async def postpone(self, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        """See letterbox."""
        tries = callback.tries if counted else callback.tries - 1
        async with self._database.write() as connection:
            await inbox.postpone(connection, callback, due_in, tries)
