"""Orders in SQL; a status changes the order, its artwork, its credits and the cursor in one transaction.

An order, its artwork and its account are locked in this order.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, case, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import failpoints
from services.chassis.clock import Clock
from services.chassis.database import Database, db_now, retried, shielded, upsert
from services.chassis.parking import not_parked
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


@shielded
@retried
class SqlOrders:
    """An OrderStore on one database."""

    def __init__(self, database: Database, users: UserRows, ledger: Ledger, clock: Clock) -> None:
        self._database, self._users, self._ledger, self._clock = database, users, ledger, clock

    async def open(self, given: Artwork, order: Order) -> Artwork:
        """Insert artwork and order and hold the cost, or find the older artwork."""
        async with self._database.write() as connection:
            kept = await insert_or_find(connection, self._users, given)
            if kept.id == given.id:
                await self._insert(connection, order)
        await failpoints.reach("order.opened")
        return kept

    async def requested(self, user_id: str, request_key: str) -> Order | None:
        """Select the user's order by its request_key."""
        mine = (artwork_order.c.user_id == user_id, artwork_order.c.request_key == request_key)
        async with self._database.read() as connection:
            row = (await connection.execute(select(artwork_order).where(*mine))).mappings().one_or_none()
        return to_order(row) if row else None

    async def reopen(self, given: Artwork, order: Order) -> bool:
        """Point the artwork to the new order, if it is unchanged."""
        same = (artwork.c.id == given.id, artwork.c.state == given.state, artwork.c.order_id == given.order_id)
        values = {"state": State.GENERATING, "order_id": order.id, "listed": False, "update_ms": self._clock()}
        async with self._database.write() as connection:
            await self._users.lock(connection, given.user_id, self._clock())
            changed = await connection.execute(update(artwork).where(*same).values(values))
            if changed.rowcount:
                await self._insert(connection, order)
        await failpoints.reach("order.opened")
        return changed.rowcount > 0

    async def apply(self, status: GenerationStatus, order_id: str = "") -> Order | None:
        """Advance the cursor and apply the status."""
        named = artwork_order.c.id == order_id if order_id else artwork_order.c.generation_id == status.generation_id
        if status.event_sequence % STRIDE and not await self._is_known(named):
            return None
        async with self._database.write() as connection:
            if status.event_sequence and not await _advance(connection, status.event_sequence):
                return None
            order = await _locked(connection, named)
            if order is None:
                return None
            applied = await _apply_status(connection, self._ledger, order, status, self._clock())
            await failpoints.reach("order.heard")
        return applied

    async def withdraw(self, order_id: str) -> None:
        """Release the hold and delete order and artwork."""
        async with self._database.write() as connection:
            if order := await self._released(connection, order_id):
                mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
                await connection.execute(delete(artwork).where(*mine))
                await connection.execute(delete(artwork_order).where(artwork_order.c.id == order.id))

    async def refuse(self, order_id: str, reason: str, message: str) -> None:
        """Release the hold and end order and artwork; a repeated request may then make a new artwork."""
        async with self._database.write() as connection:
            if order := await self._released(connection, order_id):
                ended = replace(order, state=OrderState.FAILED, reason=reason, message=message)
                await _write(connection, order, ended, self._clock())
                await _update_artwork(connection, ended, self._clock())
                mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
                await connection.execute(update(artwork).where(*mine).values(request_key=None))
                again = update(artwork_order).where(artwork_order.c.id == order.id).values(request_key=None)
                await connection.execute(again)

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Lease due orders."""
        mine = (artwork_order.c.due_ms <= db_now(), not_parked(work_fault, ORDERS, artwork_order.c.id))
        due = select(artwork_order.c.id).where(*mine).order_by(artwork_order.c.due_ms)
        chosen = due.limit(limit).with_for_update(skip_locked=True).scalar_subquery()
        values = {"due_ms": db_now() + int(lease_seconds * 1000), "tries": artwork_order.c.tries + 1}
        taken = update(artwork_order).where(artwork_order.c.id.in_(chosen)).values(values).returning(artwork_order)
        async with self._database.write() as connection:
            found = (await connection.execute(taken)).mappings().all()
        return [order for row in found if (order := to_order(row))]

    async def postpone(self, order_id: str, seconds: float) -> None:
        """Set the due time; NEVER_MS for one that has ended."""
        later = case((artwork_order.c.state.in_(ENDED), NEVER_MS), else_=db_now() + int(seconds * 1000))
        async with self._database.write() as connection:
            mine = artwork_order.c.id == order_id
            await connection.execute(update(artwork_order).where(mine).values(due_ms=later))

    async def delay(self, order_id: str, seconds: float) -> None:
        """Set the due time, whatever the state."""
        async with self._database.write() as connection:
            later = {"due_ms": db_now() + int(seconds * 1000)}
            await connection.execute(update(artwork_order).where(artwork_order.c.id == order_id).values(later))

    async def pass_over(self, status: GenerationStatus | UnreadableEvent) -> None:
        """Advance the cursor, and make the order due."""
        async with self._database.write() as connection:
            if not await _advance(connection, status.event_sequence):
                return
            mine = (
                artwork_order.c.generation_id == status.generation_id,
                artwork_order.c.state != OrderState.SUCCEEDED,
            )
            await connection.execute(update(artwork_order).where(*mine).values(due_ms=db_now()))

    async def give_up(self, order_id: str, message: str) -> None:
        """Release the hold and end order and artwork as timed out."""
        async with self._database.write() as connection:
            order = await _locked(connection, artwork_order.c.id == order_id)
            if order is None or order.state in ENDED:
                return
            ended = replace(order, state=OrderState.TIMED_OUT, reason=PARKED, message=message)
            await _update_artwork(connection, ended, self._clock())
            ended = await self._ledger.settle(connection, ended, paid=False, now_ms=self._clock())
            await _write(connection, order, ended, self._clock())

    async def revive(self, order_id: str) -> None:
        """Make the order due, and reopen it if its artwork still waits for it."""
        wanted = exists().where(artwork.c.order_id == artwork_order.c.id)
        parked = (artwork_order.c.id == order_id, artwork_order.c.reason == PARKED, wanted)
        opened = case((artwork_order.c.generation_id.is_(None), OrderState.PENDING), else_=OrderState.RUNNING)
        values = {"state": opened, "reason": "", "message": "", "complete_ms": 0, "due_ms": db_now(), "tries": 0}
        async with self._database.write() as connection:
            await connection.execute(update(artwork_order).where(*parked).values(values))

    async def abandoned(self, order: Order) -> bool:
        """Select the artwork."""
        async with self._database.read() as connection:
            return await connection.scalar(select(artwork.c.id).where(artwork.c.id == order.artwork_id)) is None

    async def cursor(self) -> int:
        """Select the cursor."""
        async with self._database.read() as connection:
            return await connection.scalar(select(event_cursor.c.sequence)) or 0

    async def _is_known(self, named: ColumnElement[bool]) -> bool:
        async with self._database.read() as connection:
            return await connection.scalar(select(artwork_order.c.id).where(named)) is not None

    async def _insert(self, connection: AsyncConnection, order: Order) -> None:
        held = await self._ledger.hold(connection, order)
        due = db_now() + FIRST_LOOK_MS
        await connection.execute(insert(artwork_order).values(order_row(held) | {"due_ms": due}))

    async def _released(self, connection: AsyncConnection, order_id: str) -> Order | None:
        """The order, with its hold released; None when it was taken after all, or has ended."""
        waiting = (artwork_order.c.state == OrderState.PENDING, artwork_order.c.generation_id.is_(None))
        order = await _locked(connection, artwork_order.c.id == order_id, *waiting)
        if order is None:
            return None
        await _artwork_of(connection, order)
        return await self._ledger.settle(connection, order, paid=False, now_ms=self._clock())


async def _advance(connection: AsyncConnection, sequence: int) -> bool:
    """Move the cursor up to an event; False when the event was consumed before."""
    statement = upsert(connection, event_cursor).values(id=CURSOR, sequence=sequence)
    higher = event_cursor.c.sequence < sequence
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"sequence": sequence}, where=higher)
    return (await connection.execute(statement)).rowcount > 0


async def _locked(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> Order | None:
    """Select and lock an order."""
    found = await connection.execute(select(artwork_order).where(*conditions).with_for_update())
    row = found.mappings().one_or_none()
    return to_order(row) if row else None


async def _apply_status(
    connection: AsyncConnection, ledger: Ledger, order: Order, status: GenerationStatus, now_ms: int
) -> Order | None:
    """Apply a status; the changed order, None when nothing changed."""
    after = order.after(status)
    if after.state is OrderState.SUCCEEDED and order.state is not OrderState.SUCCEEDED:
        after = await _succeeded(connection, ledger, after, status.object_key, now_ms)
    elif after.state in ENDED and order.state not in ENDED:
        await _update_artwork(connection, after, now_ms)
        after = await ledger.settle(connection, after, paid=False, now_ms=now_ms)
    if after == order:
        return None
    await _write(connection, order, after, now_ms)
    return after


async def _write(connection: AsyncConnection, before: Order, after: Order, now_ms: int) -> None:
    """Update an order; one that has ended is never due again."""
    changes = {name: order_row(after)[name] for name in ("state", "generation_id", "task_id", "reason", "message")}
    values = changes | {"hold": after.hold}
    if after.generation_id or after.state in ENDED:  # it is never placed again
        values |= {"quota_subjects": None}
    if after.state in ENDED:
        values |= {"due_ms": NEVER_MS, "complete_ms": now_ms if after.state is not before.state else before.complete_ms}
    elif not before.generation_id:
        values |= {"due_ms": db_now() + NEXT_LOOK_MS, "tries": 0}
    await connection.execute(update(artwork_order).where(artwork_order.c.id == after.id).values(values))


async def _update_artwork(connection: AsyncConnection, order: Order, now_ms: int) -> None:
    """Update the artwork's state by its order's."""
    shown = await _artwork_of(connection, order)
    if shown and (state := shown.state_after(order)) is not shown.state:
        values = {"state": state, "update_ms": now_ms}
        await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))


async def _succeeded(connection: AsyncConnection, ledger: Ledger, order: Order, object_key: str, now_ms: int) -> Order:
    """Attach a finished picture, or discard it when its artwork is gone; then only credits still held are charged."""
    shown = await _artwork_of(connection, order)
    taken = shown if shown and shown.takes(order) else None
    if taken:
        await _replace_picture(connection, taken, order, object_key, now_ms)
    else:
        await deletion_queue.discard_unshown(connection, object_key)
    if not taken and order.hold is not Hold.HELD:
        return order
    return await ledger.settle(connection, order, paid=True, now_ms=now_ms)


async def _replace_picture(
    connection: AsyncConnection, shown: Artwork, order: Order, object_key: str, now_ms: int
) -> None:
    """Replace the artwork's picture."""
    values = {"state": shown.state_after(order), "object_key": object_key, "update_ms": now_ms}
    await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))
    await deletion_queue.own(connection, object_key, shown.user_id)
    if shown.object_key != object_key:
        await drop_picture(connection, shown)


async def _artwork_of(connection: AsyncConnection, order: Order) -> Artwork | None:
    """Select and lock the artwork of an order; always before the account."""
    found = await connection.execute(select(artwork).where(artwork.c.id == order.artwork_id).with_for_update())
    row = found.mappings().one_or_none()
    return to_artwork(row) if row else None
