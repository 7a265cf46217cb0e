"""Statements on leases: which generations are due, and claiming, renewing and waking them; the parking of work."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, Select, and_, bindparam, case, exists, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from services.chassis.database import Database, Transaction, db_now
from services.chassis.parking import FaultStore, Parking, faults_of, not_parked
from services.generation.model import INBOX, LOOP_OF, Generation, State
from services.generation.ports import FenceLost
from services.generation.stores.generation_queries import with_outputs
from services.generation.stores.tables import generation, work_fault
from services.generation.timing import READ_GAP_SECONDS

LOOP = case({state.value: loop for state, loop in LOOP_OF.items()}, value=generation.c.state)  # that works on a row
READ_GAP_MS = int(READ_GAP_SECONDS * 1000)


def any_due(transaction: Transaction, states: Collection[State]) -> bool:
    """Whether any work in these states can be claimed."""
    return bool(transaction.scalar(_any_due(frozenset(states))))


def claim(
    transaction: Transaction, states: Collection[State], limit: int, lease_seconds: float
) -> Sequence[Generation]:
    """Claim due work in one statement, skipping rows that another transaction is claiming."""
    given = {"most": limit, "lease_ms": int(lease_seconds * 1000)}
    return with_outputs(transaction, transaction.execute(_claim(frozenset(states)), given).all())


@cache
def _any_due(states: frozenset[State]) -> Select[tuple[bool]]:
    return select(exists(_due(states)))


@cache
def _claim(states: frozenset[State]) -> ReturningUpdate[Any]:
    chosen = _due(states).limit(bindparam("most", type_=Integer)).with_for_update(skip_locked=True)
    values = {
        "fence": generation.c.fence + 1,
        "tries": generation.c.tries + 1,
        "lease_until_ms": db_now() + bindparam("lease_ms", type_=BigInteger),
    }
    claimed = update(generation).where(generation.c.id.in_(chosen)).values(values)
    return claimed.returning(generation, db_now().label("now_ms"), faults_of(work_fault, LOOP, generation.c.id))


def _due(states: frozenset[State]) -> Select[tuple[str]]:
    """Ids of unleased work that is due and not parked: orders as they came, all else newest first."""
    order = generation.c.due_ms if State.READY in states else generation.c.create_ms.desc()
    return (
        select(generation.c.id)
        .where(generation.c.state.in_(states), generation.c.due_ms <= db_now(), generation.c.lease_until_ms <= db_now())
        .where(not_parked(work_fault, LOOP, generation.c.id))
        .order_by(order)
    )


def renew(transaction: Transaction, held: Generation, lease_seconds: float) -> None:
    """Prolong a lease; one that was given back stays so. Raises FenceLost."""
    ours = and_(generation.c.id == held.id, generation.c.fence == held.fence, generation.c.lease_until_ms > 0)
    prolonged = update(generation).where(ours).values(lease_until_ms=db_now() + int(lease_seconds * 1000))
    result = transaction.execute(prolonged)
    if result.rowcount != 1:
        raise FenceLost(held.id)


def hold(transaction: Transaction, wanted: Generation, lease_seconds: float) -> Generation:
    """Lease a generation that is as it was read and not leased, whatever its state. Raises FenceLost."""
    unchanged = and_(generation.c.state == wanted.state, generation.c.fence == wanted.fence)
    statement = (
        update(generation)
        .where(generation.c.id == wanted.id, unchanged, generation.c.lease_until_ms <= db_now())
        .values(fence=generation.c.fence + 1, lease_until_ms=db_now() + int(lease_seconds * 1000))
        .returning(generation)
    )
    row = transaction.execute(statement).first()
    if row is None:
        raise FenceLost(wanted.id)
    return with_outputs(transaction, [row])[0]


def wake(transaction: Transaction, generation_id: str) -> bool:
    """Make a generation that waits for its provider due now, or as soon as its record may be read again.

    False while a worker is reading the record: the change that the caller knows of may have been missed.
    """
    waiting = and_(generation.c.id == generation_id, generation.c.state.in_((State.RUNNING, State.UNKNOWN)))
    being_read = select(generation.c.id).where(waiting, generation.c.lease_until_ms > db_now())
    if transaction.scalar(being_read):
        return False
    statement = update(generation).where(waiting, generation.c.task_id != "", generation.c.due_ms > db_now())
    soonest = generation.c.update_ms + READ_GAP_MS
    too_soon = and_(generation.c.tries > 0, soonest > db_now())  # tries counts reads since the task was accepted
    transaction.execute(statement.values(due_ms=case((too_soon, soonest), else_=db_now())))
    return True


def make_parking(database: Database) -> Parking:
    """The parking of generation's lease loops: work that failed again and again, which `due` leaves out."""
    return Parking(FaultStore(database, work_fault), [*LOOP_OF.values(), INBOX])
