"""The callback inbox on SQL: a callback is stored once and taken by one reader at a time; a method is a transaction."""

from collections.abc import Sequence

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.shielding import shielded
from services.generation import metrics
from services.generation.model import Callback
from services.generation.notifier import Notifier
from services.generation.stores import inbox


@shielded
class SqlInbox:
    """The callback inbox on SQLite or PostgreSQL."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier

    async def open_without_token(self) -> int:
        async with self._database.read() as connection:
            return await inbox.open_without_token(connection)

    async def open_with_token_of(self, attempt_id: str) -> int:
        async with self._database.read() as connection:
            return await inbox.open_with_token_of(connection, attempt_id)

    async def add(self, callback: Callback) -> bool:
        async with self._database.write() as connection:
            new = await inbox.add(connection, callback)
            await failpoints.reach("inbox.before_commit")
        await failpoints.reach("inbox.after_commit")
        if not new:
            metrics.called_back("duplicate")
        self._notifier.notify("inbox")
        return new

    async def take(self, limit: int) -> Sequence[Callback]:
        async with self._database.write() as connection:
            return await inbox.take(connection, limit)

    async def finish(self, callback: Callback, verdict: str) -> None:
        async with self._database.write() as connection:
            closed = await inbox.finish(connection, callback, verdict)
        if closed:
            metrics.called_back(verdict)

    async def renew(self, callback: Callback) -> None:
        await self.postpone(callback, inbox.TAKEN_SECONDS)

    async def postpone(self, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        tries = callback.tries if counted else callback.tries - 1
        async with self._database.write() as connection:
            await inbox.postpone(connection, callback, due_in, tries)
