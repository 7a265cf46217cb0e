"""The deletion queue in SQL; an entry stays until the other service has deleted its object or generation."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from services.chassis.database import Database, db_now, retried
from services.chassis.parking import not_parked
from services.chassis.shielding import shielded
from services.community.model import DeletionKind, DeletionState, QueuedDeletion
from services.community.model.parking import DELETIONS
from services.community.stores.tables import discarded_object, owned_object, work_fault

# How long the entry of a deleted object stays: above the time between storage naming a key and our row for it, and
# above what a deletion request may spend under way when its process or its machine stands still.
DELETED_KEPT_MS = 86_400_000
PURGE_BATCH = 500  # entries of one transaction
KEY = discarded_object.c.object_key


@shielded
@retried
class SqlDeletionQueue:
    """A DeletionQueue on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[QueuedDeletion]:
        """Lease entries that are due and set them to DELETING."""
        due = (
            discarded_object.c.due_ms <= db_now(),
            discarded_object.c.state != DeletionState.DELETED,
            not_parked(work_fault, DELETIONS, KEY),
        )
        chosen = select(KEY).where(*due).order_by(discarded_object.c.due_ms).limit(limit)
        values = {
            "due_ms": db_now() + int(lease_seconds * 1000),
            "tries": discarded_object.c.tries + 1,
            "state": DeletionState.DELETING,
        }
        mine = KEY.in_(chosen.with_for_update(skip_locked=True).scalar_subquery())
        taken = update(discarded_object).where(mine).values(values).returning(discarded_object.c.kind, KEY)
        async with self._database.write() as connection:
            found = (await connection.execute(taken)).all()
        return [QueuedDeletion(DeletionKind(row.kind), row.object_key) for row in found]

    async def complete(self, deletion: QueuedDeletion) -> None:
        """Delete the entry of a generation or an order; mark that of an object as deleted, and delete its owner."""
        mine = KEY.in_((deletion.key,))
        async with self._database.write() as connection:
            if deletion.kind is not DeletionKind.OBJECT:
                await connection.execute(delete(discarded_object).where(mine))
                return
            await connection.execute(delete(owned_object).where(owned_object.c.object_key == deletion.key))
            gone = {"state": DeletionState.DELETED, "due_ms": db_now() + DELETED_KEPT_MS}
            await connection.execute(update(discarded_object).where(mine).values(gone))

    async def postpone(self, deletion: QueuedDeletion, seconds: float) -> None:
        """Set the due time of an entry."""
        later = {"due_ms": db_now() + int(seconds * 1000)}
        async with self._database.write() as connection:
            await connection.execute(update(discarded_object).where(KEY.in_((deletion.key,))).values(later))

    async def purge(self) -> int:
        """Delete old entries of deleted objects."""
        old = (discarded_object.c.due_ms <= db_now(), discarded_object.c.state == DeletionState.DELETED)
        chosen = select(KEY).where(*old).limit(PURGE_BATCH).with_for_update(skip_locked=True).scalar_subquery()
        async with self._database.write() as connection:
            return (await connection.execute(delete(discarded_object).where(KEY.in_(chosen)))).rowcount
