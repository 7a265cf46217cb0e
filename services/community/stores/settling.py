"""What hearing of an order changes, within one transaction that locks the order, then the artwork, then the account."""

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now
from services.community.model import Artwork, Hold, Order, OrderState, Told
from services.community.model.hotness import NEVER_MS
from services.community.model.orders import ENDED
from services.community.stores import blobs
from services.community.stores.ledger import Ledger
from services.community.stores.rows import order_row, to_artwork, to_order
from services.community.stores.tables import artwork, artwork_order
from services.community.stores.works import drop_picture

FIRST_LOOK_MS = 5_000  # an event may have come before we knew the generation's id; later looks are ever rarer


async def locked(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> Order | None:
    """An order that nobody else changes until we are done."""
    found = await connection.execute(select(artwork_order).where(*conditions).with_for_update())
    row = found.mappings().one_or_none()
    return to_order(row) if row else None


async def believe(connection: AsyncConnection, ledger: Ledger, order: Order, told: Told, now_ms: int) -> Order | None:
    """The order as it is once this was heard; None when that changed nothing."""
    after = order.after(told)
    if after.state is OrderState.SUCCEEDED and order.state is not OrderState.SUCCEEDED:
        after = await _made(connection, ledger, after, told.object_key, now_ms)
    elif after.state in ENDED and order.state not in ENDED:
        await show(connection, after, now_ms)
        after = await ledger.settle(connection, after, paid=False, now_ms=now_ms)
    if after == order:
        return None
    await write(connection, order, after, now_ms)
    return after


async def write(connection: AsyncConnection, before: Order, after: Order, now_ms: int) -> None:
    """Write an order; one that has ended is never due again."""
    changes = {name: order_row(after)[name] for name in ("state", "generation_id", "task_id", "reason", "message")}
    values = changes | {"hold": after.hold}
    if after.generation_id or after.state in ENDED:  # it is never placed again
        values |= {"quota_subjects": None}
    if after.state in ENDED:
        values |= {"due_ms": NEVER_MS, "complete_ms": now_ms if after.state is not before.state else before.complete_ms}
    elif not before.generation_id:
        values |= {"due_ms": db_now() + FIRST_LOOK_MS, "tries": 0}
    await connection.execute(update(artwork_order).where(artwork_order.c.id == after.id).values(values))


async def show(connection: AsyncConnection, order: Order, now_ms: int) -> None:
    """Move the artwork to where its order leaves it."""
    shown = await artwork_of(connection, order)
    if shown and (state := shown.state_after(order)) is not shown.state:
        values = {"state": state, "update_ms": now_ms}
        await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))


async def _made(connection: AsyncConnection, ledger: Ledger, order: Order, object_key: str, now_ms: int) -> Order:
    """A picture has come. One that nobody can see any more is removed, and costs only what was still held for it."""
    shown = await artwork_of(connection, order)
    taken = shown if shown and shown.takes(order) else None
    if taken:
        await _hang(connection, taken, order, object_key, now_ms)
    else:
        await blobs.discard_unshown(connection, object_key)
    if not taken and order.hold is not Hold.HELD:
        return order
    return await ledger.settle(connection, order, paid=True, now_ms=now_ms)


async def _hang(connection: AsyncConnection, shown: Artwork, order: Order, object_key: str, now_ms: int) -> None:
    """Put the new picture in the old one's place."""
    values = {"state": shown.state_after(order), "object_key": object_key, "update_ms": now_ms}
    await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))
    await blobs.own(connection, object_key, shown.user_id)
    if shown.object_key != object_key:
        await drop_picture(connection, shown)


async def artwork_of(connection: AsyncConnection, order: Order) -> Artwork | None:
    """The artwork of an order, locked; before the account, as everywhere."""
    found = await connection.execute(select(artwork).where(artwork.c.id == order.artwork_id).with_for_update())
    row = found.mappings().one_or_none()
    return to_artwork(row) if row else None
