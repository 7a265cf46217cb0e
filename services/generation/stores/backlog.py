"""The backlog for the gauges: counted by an index over open rows, so that the cost stays the same as data grows."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database, db_now
from services.chassis.shielding import shielded
from services.generation.gauges import OPEN, Backlog
from services.generation.model import State
from services.generation.stores.tables import generation, inbox

BY_STATE = (
    select(
        generation.c.state,
        func.count().label("rows"),
        (db_now() - func.min(generation.c.ready_ms)).label("oldest_ms"),
    )
    .where(generation.c.state.in_(OPEN))
    .group_by(generation.c.state)
)
INBOX_LAG = select(db_now() - func.min(inbox.c.due_ms)).where(inbox.c.verdict == "", inbox.c.due_ms <= db_now())


@shielded
class SqlBacklog:
    """Counts the backlog of generation's own schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self) -> Backlog:
        """Count once. Raises Unavailable."""
        async with self._database.read() as connection:
            return await _take(connection)


async def _take(connection: AsyncConnection) -> Backlog:
    found = (await connection.execute(BY_STATE)).all()
    waiting = await connection.scalar(INBOX_LAG)
    return Backlog(
        count={State(row.state): row.rows for row in found},
        oldest_seconds={State(row.state): max(row.oldest_ms, 0) / 1000 for row in found},
        inbox_seconds=max(waiting or 0, 0) / 1000,
    )
