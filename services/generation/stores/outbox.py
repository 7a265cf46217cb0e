"""Statements on the outbox: an event of each change, written in the transaction that makes it, pruned by age."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, text

from services.chassis import failpoints
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.errors import OutOfRange
from services.chassis.names import new_id
from services.generation.model import Event, Generation
from services.generation.stores import rows
from services.generation.stores.tables import generation, outbox, pruned

STREAM = "outbox"
# PostgreSQL gives sequences before it commits. The lock makes commit order and sequence order the same, so that a
# consumer who has read up to n never misses an n - 1 that was committed later.
ORDER_LOCK = text("SELECT pg_advisory_xact_lock(7316577)")


def append(transaction: Transaction, changed: Generation) -> None:
    """Write the event of a change; the last statement of its transaction."""
    if transaction.dialect == "postgresql":
        transaction.execute(ORDER_LOCK)
    values = {"event_id": new_id("evt"), "generation_id": changed.id, "snapshot": rows.snapshot(changed)}
    transaction.execute(insert(outbox).values(create_ms=db_now(), **values))
    failpoints.reach_in_thread("outbox.before_commit")


EVENTS = (
    select(outbox, generation.c.draft)
    .join(generation, generation.c.id == outbox.c.generation_id)
    .order_by(outbox.c.sequence)
)


def following(transaction: Transaction, after: int, limit: int) -> Sequence[Event]:
    """Events with a higher sequence, in order. Raises OutOfRange when one of them was pruned.

    That is looked up last: what is pruned between two looks of one transaction must not go unnoticed.
    """
    found = _read(transaction, EVENTS.where(outbox.c.sequence > after).limit(limit))
    gone = transaction.scalar(select(pruned.c.through).where(pruned.c.stream == STREAM)) if after else None
    if gone and after < gone:
        sentence = "Events after this sequence are deleted by age. Begin at 0, with the oldest that is kept."
        raise OutOfRange(sentence, "EVENTS_PRUNED", metadata={"pruned_through": str(gone)})
    return found


def of_generation(transaction: Transaction, generation_id: str) -> Sequence[Event]:
    """Every event of a generation, in order."""
    return _read(transaction, EVENTS.where(outbox.c.generation_id == generation_id))


def _read(transaction: Transaction, query: Select[Any]) -> Sequence[Event]:
    found = transaction.execute(query)
    return [
        Event(row.sequence, row.event_id, rows.from_snapshot(row.snapshot, row.draft), row.create_ms) for row in found
    ]


def old_events(transaction: Transaction, older_than: float, limit: int) -> tuple[int, int]:
    """The last of the oldest events that are older than `older_than` seconds, and how many; of `limit` rows at most."""
    oldest = select(outbox.c.sequence, outbox.c.create_ms).order_by(outbox.c.sequence).limit(limit).subquery()
    past = oldest.c.create_ms < db_now() - int(older_than * 1000)
    query = select(func.max(oldest.c.sequence).label("through"), func.count().label("rows")).where(past)
    found = transaction.execute(query).one()
    return found.through or 0, found.rows


def delete_through(transaction: Transaction, through: int) -> None:
    """Delete the events up to a sequence, and record that they are deleted: the record never falls back."""
    statement = upsert(transaction, pruned).values(stream=STREAM, through=through)
    further = pruned.c.through < through
    transaction.execute(
        statement.on_conflict_do_update(index_elements=["stream"], set_={"through": through}, where=further)
    )
    transaction.execute(delete(outbox).where(outbox.c.sequence <= through))
