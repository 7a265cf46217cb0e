"""The deletion queue in SQL, and the owners of objects.

An entry stays until the other service has deleted its object or generation. A transaction that refers to an object and
one that discards it both write its entry first and look at the other's rows afterwards, so that of two concurrent ones
the second sees the first. Entries are locked last in a transaction, behind artworks and owners, in the order of their
keys.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select, update

from services.chassis.database import Transaction, db_now, upsert
from services.chassis.parking import faults_of, not_parked
from services.community.model import DeletionKind, DeletionState, QueuedDeletion
from services.community.model.users import DELETIONS
from services.community.ports import BeingDeletedError
from services.community.stores.tables import artwork, discarded_object, owned_object, work_fault

MINE = ""  # the state of an entry that this transaction has made, and removes before its end
# How long the entry of a deleted object stays: above the time between storage naming a key and our row for it, and
# above what a deletion request may spend under way while its process or its machine is paused.
DELETED_KEPT_MS = 86_400_000
PURGE_BATCH = 500  # entries of one transaction
KEY = discarded_object.c.object_key


def own(transaction: Transaction, object_key: str, user_id: str) -> None:
    """Make a user the owner of an object, unless it has one."""
    values = {"object_key": object_key, "user_id": user_id}
    transaction.execute(upsert(transaction, owned_object).values(values).on_conflict_do_nothing())


def refer(transaction: Transaction, object_key: str, user_id: str) -> None:
    """Take an object to which a row of this transaction refers out of the deletion queue.

    Raises:
        BeingDeletedError: its deletion has begun or is done; or it waits, and the user does not own the object.
    """
    statement = upsert(transaction, discarded_object).values(_entry(object_key) | {"state": MINE})
    same = {"kind": discarded_object.c.kind}
    touched = statement.on_conflict_do_update(index_elements=["object_key"], set_=same)
    state = transaction.scalar(touched.returning(discarded_object.c.state))
    if state not in (MINE, DeletionState.WAITING):
        raise BeingDeletedError(object_key)
    if state == DeletionState.WAITING and owner(transaction, object_key) != user_id:
        raise BeingDeletedError(object_key)
    _kept(transaction, object_key)


def discard(
    transaction: Transaction, keys: Iterable[str], kind: DeletionKind = DeletionKind.OBJECT, erasure_id: str = ""
) -> None:
    """Put keys into the deletion queue; existing entries keep their state."""
    for key in sorted(set(keys)):
        values = _entry(key) | {"kind": kind, "erasure_id": erasure_id}
        statement = upsert(transaction, discarded_object).values(values)
        same = {"erasure_id": statement.excluded.erasure_id}
        transaction.execute(statement.on_conflict_do_update(index_elements=["object_key"], set_=same))


def discard_unshown(transaction: Transaction, object_key: str) -> None:
    """Put an object into the deletion queue, unless an artwork shows it."""
    discard(transaction, [object_key])
    if transaction.scalar(select(artwork.c.id).where(artwork.c.object_key == object_key).limit(1)):
        _kept(transaction, object_key)


def delete_again(transaction: Transaction, object_key: str) -> None:
    """Queue an object for deletion again that was stored under a deleted key, to which nobody refers."""
    again = {"state": DeletionState.DELETING, "due_ms": db_now()}
    gone = (discarded_object.c.object_key == object_key, discarded_object.c.state == DeletionState.DELETED)
    transaction.execute(update(discarded_object).where(*gone).values(again))


def owner(transaction: Transaction, object_key: str) -> str:
    """The owner of an object; empty when there is none."""
    found = select(owned_object.c.user_id).where(owned_object.c.object_key == object_key)
    return transaction.scalar(found) or ""


def _kept(transaction: Transaction, object_key: str) -> None:
    """Remove an entry whose deletion has not begun."""
    open_ = discarded_object.c.state.in_((MINE, DeletionState.WAITING))
    transaction.execute(delete(discarded_object).where(discarded_object.c.object_key == object_key, open_))


def _entry(object_key: str) -> dict[str, object]:
    entry = {"object_key": object_key, "kind": DeletionKind.OBJECT, "state": DeletionState.WAITING}
    return entry | {"erasure_id": "", "due_ms": db_now(), "tries": 0}


class SqlDeletionQueue:
    """A DeletionQueue."""

    def claim(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[QueuedDeletion]:
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
        failed = faults_of(work_fault, DELETIONS, KEY)
        taken = update(discarded_object).where(mine).values(values).returning(discarded_object.c.kind, KEY, failed)
        found = transaction.execute(taken).all()
        return [QueuedDeletion(DeletionKind(row.kind), row.object_key, row.faults) for row in found]

    def complete(self, transaction: Transaction, deletion: QueuedDeletion) -> None:
        """Delete the entry of a generation or an order; mark that of an object as deleted, and delete its owner."""
        mine = KEY.in_((deletion.key,))
        if deletion.kind is not DeletionKind.OBJECT:
            transaction.execute(delete(discarded_object).where(mine))
            return
        transaction.execute(delete(owned_object).where(owned_object.c.object_key == deletion.key))
        gone = {"state": DeletionState.DELETED, "due_ms": db_now() + DELETED_KEPT_MS}
        transaction.execute(update(discarded_object).where(mine).values(gone))

    def postpone(self, transaction: Transaction, deletion: QueuedDeletion, seconds: float) -> None:
        """Set the due time of an entry."""
        later = {"due_ms": db_now() + int(seconds * 1000)}
        transaction.execute(update(discarded_object).where(KEY.in_((deletion.key,))).values(later))

    def purge(self, transaction: Transaction) -> int:
        """Delete old entries of deleted objects."""
        old = (discarded_object.c.due_ms <= db_now(), discarded_object.c.state == DeletionState.DELETED)
        chosen = select(KEY).where(*old).limit(PURGE_BATCH).with_for_update(skip_locked=True).scalar_subquery()
        return transaction.execute(delete(discarded_object).where(KEY.in_(chosen))).rowcount
