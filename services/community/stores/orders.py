"""Keeps orders in SQL; what is heard of one changes it, its artwork, its credits and the cursor in one transaction."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, case, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import failpoints
from services.chassis.database import Database, db_now, retried, upsert
from services.chassis.parking import not_parked
from services.chassis.unbroken import unbroken
from services.community.model import Artwork, Order, OrderState, State, Told, Unread
from services.community.model.hotness import NEVER_MS
from services.community.model.orders import ENDED
from services.community.model.parking import ORDERS, PARKED
from services.community.ports import Clock
from services.community.stores import settling
from services.community.stores.ledger import Ledger
from services.community.stores.people_rows import PeopleRows
from services.community.stores.rows import order_row, to_order
from services.community.stores.tables import artwork, artwork_order, event_cursor, work_fault
from services.community.stores.works import insert_or_find

FIRST_LOOK_MS = 30_000  # whoever placed an order has told of it by then, or died
CURSOR = 1
STRIDE = 100  # events of strangers move the cursor only so often: a read is cheaper than a write


@unbroken
@retried
class SqlOrders:
    """An OrderStore on one database."""

    def __init__(self, database: Database, people: PeopleRows, ledger: Ledger, clock: Clock) -> None:
        self._database, self._people, self._ledger, self._clock = database, people, ledger, clock

    async def open(self, given: Artwork, order: Order) -> Artwork:
        """Insert both and hold the cost, or find the older artwork."""
        async with self._database.write() as connection:
            kept = await insert_or_find(connection, self._people, given)
            if kept.id == given.id:
                await self._insert(connection, order)
        await failpoints.reach("order.opened")
        return kept

    async def requested(self, user_id: str, request_key: str) -> Order | None:
        """Look the key up among the person's."""
        mine = (artwork_order.c.user_id == user_id, artwork_order.c.request_key == request_key)
        async with self._database.read() as connection:
            row = (await connection.execute(select(artwork_order).where(*mine))).mappings().one_or_none()
        return to_order(row) if row else None

    async def reopen(self, given: Artwork, order: Order) -> bool:
        """Point the artwork to the new order, if it is as it was."""
        same = (artwork.c.id == given.id, artwork.c.state == given.state, artwork.c.order_id == given.order_id)
        values = {"state": State.GENERATING, "order_id": order.id, "listed": False, "update_ms": self._clock()}
        async with self._database.write() as connection:
            await self._people.known(connection, given.user_id, self._clock())
            changed = await connection.execute(update(artwork).where(*same).values(values))
            if changed.rowcount:
                await self._insert(connection, order)
        await failpoints.reach("order.opened")
        return changed.rowcount > 0

    async def hear(self, told: Told, order_id: str = "") -> Order | None:
        """Advance the cursor, then change whatever this changes."""
        named = artwork_order.c.id == order_id if order_id else artwork_order.c.generation_id == told.generation_id
        if told.event_sequence % STRIDE and not await self._knows(named):
            return None
        async with self._database.write() as connection:
            if told.event_sequence and not await _advance(connection, told.event_sequence):
                return None
            order = await settling.locked(connection, named)
            if order is None:
                return None
            heard = await settling.believe(connection, self._ledger, order, told, self._clock())
            await failpoints.reach("order.heard")
        return heard

    async def withdraw(self, order_id: str) -> None:
        """Give the hold back and delete both."""
        async with self._database.write() as connection:
            if order := await self._unpaid(connection, order_id):
                mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
                await connection.execute(delete(artwork).where(*mine))
                await connection.execute(delete(artwork_order).where(artwork_order.c.id == order.id))

    async def refuse(self, order_id: str, reason: str, message: str) -> None:
        """Give the hold back and end both; a repeated request may then make a new artwork."""
        async with self._database.write() as connection:
            if order := await self._unpaid(connection, order_id):
                ended = replace(order, state=OrderState.FAILED, reason=reason, message=message)
                await settling.write(connection, order, ended, self._clock())
                await settling.show(connection, ended, self._clock())
                mine = (artwork.c.id == order.artwork_id, artwork.c.order_id == order.id)
                await connection.execute(update(artwork).where(*mine).values(request_key=None))
                again = update(artwork_order).where(artwork_order.c.id == order.id).values(request_key=None)
                await connection.execute(again)

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Take due orders, each for so long."""
        mine = (artwork_order.c.due_ms <= db_now(), not_parked(work_fault, ORDERS, artwork_order.c.id))
        due = select(artwork_order.c.id).where(*mine).order_by(artwork_order.c.due_ms)
        chosen = due.limit(limit).with_for_update(skip_locked=True).scalar_subquery()
        values = {"due_ms": db_now() + int(lease_seconds * 1000), "tries": artwork_order.c.tries + 1}
        taken = update(artwork_order).where(artwork_order.c.id.in_(chosen)).values(values).returning(artwork_order)
        async with self._database.write() as connection:
            found = (await connection.execute(taken)).mappings().all()
        return [order for row in found if (order := to_order(row))]

    async def postpone(self, order_id: str, seconds: float) -> None:
        """Set when it is due; one that has ended is no more."""
        later = case((artwork_order.c.state.in_(ENDED), NEVER_MS), else_=db_now() + int(seconds * 1000))
        async with self._database.write() as connection:
            mine = artwork_order.c.id == order_id
            await connection.execute(update(artwork_order).where(mine).values(due_ms=later))

    async def delay(self, order_id: str, seconds: float) -> None:
        """Set when it is due, whatever its state."""
        async with self._database.write() as connection:
            later = {"due_ms": db_now() + int(seconds * 1000)}
            await connection.execute(update(artwork_order).where(artwork_order.c.id == order_id).values(later))

    async def pass_over(self, told: Told | Unread) -> None:
        """Advance the cursor, and let the order be due."""
        async with self._database.write() as connection:
            if not await _advance(connection, told.event_sequence):
                return
            mine = (artwork_order.c.generation_id == told.generation_id, artwork_order.c.state != OrderState.SUCCEEDED)
            await connection.execute(update(artwork_order).where(*mine).values(due_ms=db_now()))

    async def give_up(self, order_id: str, message: str) -> None:
        """Give the hold back and end both as if it had taken too long."""
        async with self._database.write() as connection:
            order = await settling.locked(connection, artwork_order.c.id == order_id)
            if order is None or order.state in ENDED:
                return
            ended = replace(order, state=OrderState.TIMED_OUT, reason=PARKED, message=message)
            await settling.show(connection, ended, self._clock())
            ended = await self._ledger.settle(connection, ended, paid=False, now_ms=self._clock())
            await settling.write(connection, order, ended, self._clock())

    async def revive(self, order_id: str) -> None:
        """Let it be due at once; one that was given up has not ended, if its artwork still waits for it."""
        wanted = exists().where(artwork.c.order_id == artwork_order.c.id)
        parked = (artwork_order.c.id == order_id, artwork_order.c.reason == PARKED, wanted)
        opened = case((artwork_order.c.generation_id.is_(None), OrderState.PENDING), else_=OrderState.RUNNING)
        values = {"state": opened, "reason": "", "message": "", "complete_ms": 0, "due_ms": db_now(), "tries": 0}
        async with self._database.write() as connection:
            await connection.execute(update(artwork_order).where(*parked).values(values))

    async def abandoned(self, order: Order) -> bool:
        """Look for the artwork."""
        async with self._database.read() as connection:
            return await connection.scalar(select(artwork.c.id).where(artwork.c.id == order.artwork_id)) is None

    async def cursor(self) -> int:
        """Read the cursor."""
        async with self._database.read() as connection:
            return await connection.scalar(select(event_cursor.c.sequence)) or 0

    async def _knows(self, named: ColumnElement[bool]) -> bool:
        async with self._database.read() as connection:
            return await connection.scalar(select(artwork_order.c.id).where(named)) is not None

    async def _insert(self, connection: AsyncConnection, order: Order) -> None:
        held = await self._ledger.hold(connection, order)
        due = db_now() + FIRST_LOOK_MS
        await connection.execute(insert(artwork_order).values(order_row(held) | {"due_ms": due}))

    async def _unpaid(self, connection: AsyncConnection, order_id: str) -> Order | None:
        """The order, with its hold given back; None when it was taken after all, or has ended."""
        waiting = (artwork_order.c.state == OrderState.PENDING, artwork_order.c.generation_id.is_(None))
        order = await settling.locked(connection, artwork_order.c.id == order_id, *waiting)
        if order is None:
            return None
        await settling.artwork_of(connection, order)
        return await self._ledger.settle(connection, order, paid=False, now_ms=self._clock())


async def _advance(connection: AsyncConnection, sequence: int) -> bool:
    """Move the cursor up to an event; False when it was there already, so that the event has been dealt with."""
    statement = upsert(connection, event_cursor).values(id=CURSOR, sequence=sequence)
    higher = event_cursor.c.sequence < sequence
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"sequence": sequence}, where=higher)
    return (await connection.execute(statement)).rowcount > 0
