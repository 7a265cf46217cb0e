"""Erases a user: rows in one transaction; objects, and prompts in generation, through the deletion queue.

Each step is one statement over all rows, however many there are: a driver takes only so many parameters. Rows are
locked in the order that users.py describes.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    cast,
    delete,
    insert,
    literal,
    select,
    union,
    update,
)

from services.chassis.database import Transaction, db_now, upsert
from services.community.model import DeletionKind, DeletionState, Erasure, Hold, Request
from services.community.model.orders import ENDED
from services.community.stores.tables import (
    account,
    artwork,
    artwork_favorite,
    artwork_like,
    artwork_order,
    budget,
    check_in,
    discarded_object,
    entry,
    erasure,
    owned_object,
    person,
    report,
)

NOTHING = json.dumps(asdict(Request(prompt="", model="")))
OF_A_PERSON = (report, budget, account, entry, check_in)
# How long an order may still be on its way to generation: above the deadline of the call that places it, and a lease.
PLACING_MS = 60_000
NAMED = artwork_order.c.generation_id.is_not(None)


def erase(transaction: Transaction, user_id: str, erasure_id: str, now_ms: int) -> Erasure:
    """Delete all rows of a user and write the receipt.

    The user's row, which UserRows.lock_for_erasure has locked, is deleted last.
    """
    _lock(transaction, user_id)
    words = _discard_words(transaction, user_id, erasure_id)
    _forget_orders(transaction, user_id)
    likes = _take_back(transaction, artwork_like, user_id, now_ms)
    favorites = _take_back(transaction, artwork_favorite, user_id, now_ms)
    artworks = transaction.execute(delete(artwork).where(artwork.c.user_id == user_id)).rowcount
    for table in OF_A_PERSON:
        transaction.execute(delete(table).where(table.c.user_id == user_id))
    objects = _discard_objects(transaction, user_id, erasure_id)
    transaction.execute(delete(person).where(person.c.id == user_id))
    counts = {"artwork_count": artworks, "like_count": likes, "favorite_count": favorites, "object_count": objects}
    transaction.execute(insert(erasure).values(id=erasure_id, **counts, create_ms=now_ms))
    return Erasure(erasure_id, **counts, remaining_count=objects + words, create_ms=now_ms)


def _lock(transaction: Transaction, user_id: str) -> None:
    """Lock the user's orders and all artworks that the erasure changes, each in the order of ids.

    Of what is locked no row is fetched: there may be tens of thousands.
    """
    orders = select(artwork_order.c.id).where(artwork_order.c.user_id == user_id).order_by(artwork_order.c.id)
    transaction.execute(orders.with_for_update()).close()
    changed = union(
        select(artwork.c.id).where(artwork.c.user_id == user_id),
        *(select(table.c.artwork_id).where(table.c.user_id == user_id) for table in (artwork_like, artwork_favorite)),
        select(report.c.artwork_id).where(report.c.user_id == user_id),
    )
    artworks = select(artwork.c.id).where(artwork.c.id.in_(changed)).order_by(artwork.c.id)
    transaction.execute(artworks.with_for_update()).close()


def _discard_words(transaction: Transaction, user_id: str, erasure_id: str) -> int:
    """Queue the user's generations to be forgotten, those of orders whose answers were lost included."""
    mine = artwork_order.c.user_id == user_id
    generations = select(artwork_order.c.generation_id).where(mine, NAMED)
    unknown = select(artwork_order.c.id).where(mine, ~NAMED)
    return _discard(transaction, DeletionKind.GENERATION, generations, erasure_id) + _discard(
        transaction, DeletionKind.ORDER, unknown, erasure_id, PLACING_MS
    )


def _discard_objects(transaction: Transaction, user_id: str, erasure_id: str) -> int:
    """Queue the user's objects for deletion; the owners' rows are locked before the queue."""
    mine = owned_object.c.user_id == user_id
    locked = select(owned_object.c.object_key).where(mine).order_by(owned_object.c.object_key).with_for_update()
    transaction.execute(locked).close()
    objects = _discard(transaction, DeletionKind.OBJECT, select(owned_object.c.object_key).where(mine), erasure_id)
    transaction.execute(delete(owned_object).where(mine))
    return objects


def _discard(
    transaction: Transaction, kind: DeletionKind, keys: Select[tuple[str]], erasure_id: str, later_ms: int = 0
) -> int:
    """Put keys into the deletion queue; existing entries become part of this erasure."""
    chosen = keys.subquery()
    due = cast(db_now() + later_ms, BigInteger)
    columns: Sequence[ColumnElement[Any]] = (
        literal(kind, String), literal(DeletionState.WAITING, String), literal(erasure_id, String), due,
        literal(0, Integer),
    )  # fmt: skip
    rows = select(chosen.c[0], *columns).where(literal(1) == 1).order_by(chosen.c[0])
    names = ["object_key", "kind", "state", "erasure_id", "due_ms", "tries"]
    statement = upsert(transaction, discarded_object).from_select(names, rows)
    same = {"erasure_id": statement.excluded.erasure_id}
    put = transaction.execute(statement.on_conflict_do_update(index_elements=["object_key"], set_=same))
    return put.rowcount


def _forget_orders(transaction: Transaction, user_id: str) -> None:
    """Delete the user's ended orders; of open ones keep what identifies a late picture, to delete it."""
    mine = artwork_order.c.user_id == user_id
    transaction.execute(delete(artwork_order).where(mine, artwork_order.c.state.in_(ENDED)))
    values = {
        "user_id": "",
        "request": NOTHING,
        "hold": Hold.NONE,
        "cost": 0,
        "request_key": None,
        "quota_subjects": None,
    }
    transaction.execute(update(artwork_order).where(mine).values(values))


def _take_back(transaction: Transaction, table: Table, user_id: str, now_ms: int) -> int:
    """Delete the user's reactions and adjust counts and scores."""
    mine = table.c.user_id == user_id
    count = artwork.c.like_count if table is artwork_like else artwork.c.favorite_count
    values = {count: count - 1, artwork.c.hot_due_ms: now_ms}
    theirs = artwork.c.id.in_(select(table.c.artwork_id).where(mine))
    transaction.execute(update(artwork).where(theirs).values(values))
    return transaction.execute(delete(table).where(mine)).rowcount
