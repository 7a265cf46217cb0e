"""Orders in SQL; a status changes the order, its artwork, its credits and the cursor in one transaction.

An order, its artwork and its account are locked in this order.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, case, delete, exists, insert, select, update

from services.chassis import failpoints
from services.chassis.clock import Clock
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.parking import faults_of, not_parked
from services.community.model import Artwork, GenerationStatus, Hold, Order, OrderState, State, UnreadableEvent
from services.community.model.hotness import NEVER_MS
from services.community.model.orders import ENDED, ORDERS, PARKED
from services.community.stores import deletion_queue
from services.community.stores.artworks import drop_picture, insert_or_find
from services.community.stores.credits import Ledger
from services.community.stores.rows import order_row, to_artwork, to_order
from services.community.stores.tables import artwork, artwork_order, event_cursor, work_fault
from services.community.stores.users import UserRows

FIRST_LOOK_MS = 30_000  # the process that placed an order has recorded the answer by then, or died
CURSOR = 1
STRIDE = 100  # events of unknown generations move the cursor only so often: a read is cheaper than a write
NEXT_LOOK_MS = 5_000  # an event may have come before we knew the generation's id; later attempts are ever rarer


class SqlOrders:
    """An OrderStore."""

    def __init__(self, users: UserRows, ledger: Ledger, clock: Clock) -> None:
        self._users, self._ledger, self._clock = users, ledger, clock

    def open(self, transaction: Transaction, given: Artwork, order: Order) -> Artwork:
        """Insert artwork and order and hold the cost, or find the older artwork."""
        kept = insert_or_find(transaction, self._users, given)
        if kept.id == given.id:
            self._insert(transaction, order)
        return kept

    def requested(self, transaction: Transaction, user_id: str, request_key: str) -> Order | None:
        """Select the user's order by its request_key."""
        mine = (artwork_order.c.user_id == user_id, artwork_order.c.request_key == request_key)
        row = transaction.execute(select(artwork_order).where(*mine)).mappings().one_or_none()
        return to_order(row) if row else None

    def reopen(self, transaction: Transaction, given: Artwork, order: Order) -> bool:
        """Point the artwork to the new order, if it is unchanged."""
        same = (artwork.c.id == given.id, artwork.c.state == given.state, artwork.c.order_id == given.order_id)
        values = {"state": State.GENERATING, "order_id": order.id, "listed": False, "update_ms": self._clock()}
        self._users.lock(transaction, given.user_id, self._clock())
        changed = transaction.execute(update(artwork).where(*same).values(values))
        if changed.rowcount:
            self._insert(transaction, order)
        return changed.rowcount > 0

    def concerns(self, transaction: Transaction, status: GenerationStatus) -> bool:
        """Select the order, unless the event moves the cursor anyway."""
        mine = select(artwork_order.c.id).where(artwork_order.c.generation_id == status.generation_id)
        return status.event_sequence % STRIDE == 0 or transaction.scalar(mine) is not None

    def apply(self, transaction: Transaction, status: GenerationStatus, order_id: str = "") -> Order | None:
        """Advance the cursor and apply the status."""
        named = artwork_order.c.id == order_id if order_id else artwork_order.c.generation_id == status.generation_id
        if status.event_sequence and not _advance(transaction, status.event_sequence):
            return None
        order = _locked(transaction, named)
        if order is None:
            return None
        applied = _apply_status(transaction, self._ledger, order, status, self._clock())
        failpoints.reach_in_thread("order.heard")
        return applied

    def withdraw(self, transaction: Transaction, order_id: str) -> None:
        """Release the hold and delete order and artwork."""
        if order := self._released(transaction, order_id):
            mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
            transaction.execute(delete(artwork).where(*mine))
            transaction.execute(delete(artwork_order).where(artwork_order.c.id == order.id))

    def refuse(self, transaction: Transaction, order_id: str, reason: str, message: str) -> None:
        """Release the hold and end order and artwork; a repeated request may then make a new artwork."""
        if order := self._released(transaction, order_id):
            ended = replace(order, state=OrderState.FAILED, reason=reason, message=message)
            _write(transaction, order, ended, self._clock())
            _update_artwork(transaction, ended, self._clock())
            mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
            transaction.execute(update(artwork).where(*mine).values(request_key=None))
            again = update(artwork_order).where(artwork_order.c.id == order.id).values(request_key=None)
            transaction.execute(again)

    def claim(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Lease due orders."""
        mine = (artwork_order.c.due_ms <= db_now(), not_parked(work_fault, ORDERS, artwork_order.c.id))
        due = select(artwork_order.c.id).where(*mine).order_by(artwork_order.c.due_ms)
        chosen = due.limit(limit).with_for_update(skip_locked=True).scalar_subquery()
        values = {"due_ms": db_now() + int(lease_seconds * 1000), "tries": artwork_order.c.tries + 1}
        taken = update(artwork_order).where(artwork_order.c.id.in_(chosen)).values(values)
        claimed = taken.returning(artwork_order, faults_of(work_fault, ORDERS, artwork_order.c.id))
        found = transaction.execute(claimed).mappings().all()
        return [order for row in found if (order := to_order(row))]

    def postpone(self, transaction: Transaction, order_id: str, seconds: float) -> None:
        """Set the due time; NEVER_MS for one that has ended."""
        later = case((artwork_order.c.state.in_(ENDED), NEVER_MS), else_=db_now() + int(seconds * 1000))
        mine = artwork_order.c.id == order_id
        transaction.execute(update(artwork_order).where(mine).values(due_ms=later))

    def delay(self, transaction: Transaction, order_id: str, seconds: float) -> None:
        """Set the due time, whatever the state."""
        later = {"due_ms": db_now() + int(seconds * 1000)}
        transaction.execute(update(artwork_order).where(artwork_order.c.id == order_id).values(later))

    def pass_over(self, transaction: Transaction, status: GenerationStatus | UnreadableEvent) -> None:
        """Advance the cursor, and make the order due."""
        if not _advance(transaction, status.event_sequence):
            return
        mine = (
            artwork_order.c.generation_id == status.generation_id,
            artwork_order.c.state != OrderState.SUCCEEDED,
        )
        transaction.execute(update(artwork_order).where(*mine).values(due_ms=db_now()))

    def give_up(self, transaction: Transaction, order_id: str, message: str) -> None:
        """Release the hold and end order and artwork as timed out."""
        order = _locked(transaction, artwork_order.c.id == order_id)
        if order is None or order.state in ENDED:
            return
        ended = replace(order, state=OrderState.TIMED_OUT, reason=PARKED, message=message)
        _update_artwork(transaction, ended, self._clock())
        ended = self._ledger.settle(transaction, ended, paid=False, now_ms=self._clock())
        _write(transaction, order, ended, self._clock())

    def revive(self, transaction: Transaction, order_id: str) -> None:
        """Make the order due, and reopen it if its artwork still waits for it."""
        wanted = exists().where(artwork.c.order_id == artwork_order.c.id)
        parked = (artwork_order.c.id == order_id, artwork_order.c.reason == PARKED, wanted)
        opened = case((artwork_order.c.generation_id.is_(None), OrderState.PENDING), else_=OrderState.RUNNING)
        values = {"state": opened, "reason": "", "message": "", "complete_ms": 0, "due_ms": db_now(), "tries": 0}
        transaction.execute(update(artwork_order).where(*parked).values(values))

    def abandoned(self, transaction: Transaction, order: Order) -> bool:
        """Select the artwork."""
        return transaction.scalar(select(artwork.c.id).where(artwork.c.id == order.artwork_id)) is None

    def cursor(self, transaction: Transaction) -> int:
        """Select the cursor."""
        return transaction.scalar(select(event_cursor.c.sequence)) or 0

    def _insert(self, transaction: Transaction, order: Order) -> None:
        held = self._ledger.hold(transaction, order)
        due = db_now() + FIRST_LOOK_MS
        transaction.execute(insert(artwork_order).values(order_row(held) | {"due_ms": due}))

    def _released(self, transaction: Transaction, order_id: str) -> Order | None:
        """The order, with its hold released; None when it was taken after all, or has ended."""
        waiting = (artwork_order.c.state == OrderState.PENDING, artwork_order.c.generation_id.is_(None))
        order = _locked(transaction, artwork_order.c.id == order_id, *waiting)
        if order is None:
            return None
        _artwork_of(transaction, order)
        return self._ledger.settle(transaction, order, paid=False, now_ms=self._clock())


def _advance(transaction: Transaction, sequence: int) -> bool:
    """Move the cursor up to an event; False when the event was consumed before."""
    statement = upsert(transaction, event_cursor).values(id=CURSOR, sequence=sequence)
    higher = event_cursor.c.sequence < sequence
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"sequence": sequence}, where=higher)
    return transaction.execute(statement).rowcount > 0


def _locked(transaction: Transaction, *conditions: ColumnElement[bool]) -> Order | None:
    """Select and lock an order."""
    found = transaction.execute(select(artwork_order).where(*conditions).with_for_update())
    row = found.mappings().one_or_none()
    return to_order(row) if row else None


def _apply_status(
    transaction: Transaction, ledger: Ledger, order: Order, status: GenerationStatus, now_ms: int
) -> Order | None:
    """Apply a status; the changed order, None when nothing changed."""
    after = order.after(status)
    if after.state is OrderState.SUCCEEDED and order.state is not OrderState.SUCCEEDED:
        after = _succeeded(transaction, ledger, after, status.object_key, now_ms)
    elif after.state in ENDED and order.state not in ENDED:
        _update_artwork(transaction, after, now_ms)
        after = ledger.settle(transaction, after, paid=False, now_ms=now_ms)
    if after == order:
        return None
    _write(transaction, order, after, now_ms)
    return after


def _write(transaction: Transaction, before: Order, after: Order, now_ms: int) -> None:
    """Update an order; one that has ended is never due again."""
    changes = {name: order_row(after)[name] for name in ("state", "generation_id", "task_id", "reason", "message")}
    values = changes | {"hold": after.hold}
    if after.generation_id or after.state in ENDED:  # it is never placed again
        values |= {"quota_subjects": None}
    if after.state in ENDED:
        values |= {"due_ms": NEVER_MS, "complete_ms": now_ms if after.state is not before.state else before.complete_ms}
    elif not before.generation_id:
        values |= {"due_ms": db_now() + NEXT_LOOK_MS, "tries": 0}
    transaction.execute(update(artwork_order).where(artwork_order.c.id == after.id).values(values))


def _update_artwork(transaction: Transaction, order: Order, now_ms: int) -> None:
    """Update the artwork's state by its order's."""
    shown = _artwork_of(transaction, order)
    if shown and (state := shown.state_after(order)) is not shown.state:
        values = {"state": state, "update_ms": now_ms}
        transaction.execute(update(artwork).where(artwork.c.id == shown.id).values(values))


def _succeeded(transaction: Transaction, ledger: Ledger, order: Order, object_key: str, now_ms: int) -> Order:
    """Attach a finished picture, or discard it when its artwork is gone; then only credits still held are charged."""
    shown = _artwork_of(transaction, order)
    taken = shown if shown and shown.takes(order) else None
    if taken:
        _replace_picture(transaction, taken, order, object_key, now_ms)
    else:
        deletion_queue.discard_unshown(transaction, object_key)
    if not taken and order.hold is not Hold.HELD:
        return order
    return ledger.settle(transaction, order, paid=True, now_ms=now_ms)


def _replace_picture(transaction: Transaction, shown: Artwork, order: Order, object_key: str, now_ms: int) -> None:
    """Replace the artwork's picture."""
    values = {"state": shown.state_after(order), "object_key": object_key, "update_ms": now_ms}
    transaction.execute(update(artwork).where(artwork.c.id == shown.id).values(values))
    deletion_queue.own(transaction, object_key, shown.user_id)
    if shown.object_key != object_key:
        drop_picture(transaction, shown)


def _artwork_of(transaction: Transaction, order: Order) -> Artwork | None:
    """Select and lock the artwork of an order; always before the account."""
    found = transaction.execute(select(artwork).where(artwork.c.id == order.artwork_id).with_for_update())
    row = found.mappings().one_or_none()
    return to_artwork(row) if row else None
