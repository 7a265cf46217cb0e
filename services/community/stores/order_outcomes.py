"""Applies a generation's status to an order, its artwork and its account, locked in this order, in one transaction."""

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now
from services.community.model import Artwork, GenerationStatus, Hold, Order, OrderState
from services.community.model.hotness import NEVER_MS
from services.community.model.orders import ENDED
from services.community.stores import object_references
from services.community.stores.artworks import drop_picture
from services.community.stores.ledger import Ledger
from services.community.stores.rows import order_row, to_artwork, to_order
from services.community.stores.tables import artwork, artwork_order

FIRST_LOOK_MS = 5_000  # an event may have come before we knew the generation's id; later attempts are ever rarer


async def locked(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> Order | None:
    """Select and lock an order."""
    found = await connection.execute(select(artwork_order).where(*conditions).with_for_update())
    row = found.mappings().one_or_none()
    return to_order(row) if row else None


async def apply_status(
    connection: AsyncConnection, ledger: Ledger, order: Order, status: GenerationStatus, now_ms: int
) -> Order | None:
    """Apply a status; the changed order, None when nothing changed."""
    after = order.after(status)
    if after.state is OrderState.SUCCEEDED and order.state is not OrderState.SUCCEEDED:
        after = await _succeeded(connection, ledger, after, status.object_key, now_ms)
    elif after.state in ENDED and order.state not in ENDED:
        await update_artwork(connection, after, now_ms)
        after = await ledger.settle(connection, after, paid=False, now_ms=now_ms)
    if after == order:
        return None
    await write(connection, order, after, now_ms)
    return after


async def write(connection: AsyncConnection, before: Order, after: Order, now_ms: int) -> None:
    """Update an order; one that has ended is never due again."""
    changes = {name: order_row(after)[name] for name in ("state", "generation_id", "task_id", "reason", "message")}
    values = changes | {"hold": after.hold}
    if after.generation_id or after.state in ENDED:  # it is never placed again
        values |= {"quota_subjects": None}
    if after.state in ENDED:
        values |= {"due_ms": NEVER_MS, "complete_ms": now_ms if after.state is not before.state else before.complete_ms}
    elif not before.generation_id:
        values |= {"due_ms": db_now() + FIRST_LOOK_MS, "tries": 0}
    await connection.execute(update(artwork_order).where(artwork_order.c.id == after.id).values(values))


async def update_artwork(connection: AsyncConnection, order: Order, now_ms: int) -> None:
    """Update the artwork's state by its order's."""
    shown = await artwork_of(connection, order)
    if shown and (state := shown.state_after(order)) is not shown.state:
        values = {"state": state, "update_ms": now_ms}
        await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))


async def _succeeded(connection: AsyncConnection, ledger: Ledger, order: Order, object_key: str, now_ms: int) -> Order:
    """Attach a finished picture, or discard it when its artwork is gone; then only credits still held are charged."""
    shown = await artwork_of(connection, order)
    taken = shown if shown and shown.takes(order) else None
    if taken:
        await _replace_picture(connection, taken, order, object_key, now_ms)
    else:
        await object_references.discard_unshown(connection, object_key)
    if not taken and order.hold is not Hold.HELD:
        return order
    return await ledger.settle(connection, order, paid=True, now_ms=now_ms)


async def _replace_picture(
    connection: AsyncConnection, shown: Artwork, order: Order, object_key: str, now_ms: int
) -> None:
    """Replace the artwork's picture."""
    values = {"state": shown.state_after(order), "object_key": object_key, "update_ms": now_ms}
    await connection.execute(update(artwork).where(artwork.c.id == shown.id).values(values))
    await object_references.own(connection, object_key, shown.user_id)
    if shown.object_key != object_key:
        await drop_picture(connection, shown)


async def artwork_of(connection: AsyncConnection, order: Order) -> Artwork | None:
    """Select and lock the artwork of an order; always before the account."""
    found = await connection.execute(select(artwork).where(artwork.c.id == order.artwork_id).with_for_update())
    row = found.mappings().one_or_none()
    return to_artwork(row) if row else None
