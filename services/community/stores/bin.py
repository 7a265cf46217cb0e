"""Keeps which bytes are to be removed until storage has removed them; a row here outlives every crash."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from services.chassis.database import Database, db_now
from services.chassis.unbroken import unbroken
from services.community.stores.tables import discarded_object


@unbroken
class SqlBin:
    """A Bin on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[str]:
        """Take due keys, each for so long."""
        due = select(discarded_object.c.object_key).where(discarded_object.c.due_ms <= db_now())
        chosen = due.order_by(discarded_object.c.due_ms).limit(limit).with_for_update(skip_locked=True)
        values = {"due_ms": db_now() + int(lease_seconds * 1000), "tries": discarded_object.c.tries + 1}
        taken = update(discarded_object).where(discarded_object.c.object_key.in_(chosen.scalar_subquery()))
        async with self._database.write() as connection:
            found = await connection.execute(taken.values(values).returning(discarded_object.c.object_key))
            return list(found.scalars())

    async def empty(self, object_key: str) -> None:
        """Delete the row."""
        async with self._database.write() as connection:
            await connection.execute(delete(discarded_object).where(discarded_object.c.object_key == object_key))
