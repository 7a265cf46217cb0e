"""Forgets a person: rows in one transaction, bytes by the list of what is to be removed."""

import json
from dataclasses import asdict

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.community.model import DeletionKind, Erasure, Hold, Request
from services.community.model.orders import ENDED
from services.community.stores import blobs
from services.community.stores.tables import (
    account,
    artwork,
    artwork_favorite,
    artwork_like,
    artwork_order,
    budget,
    check_in,
    entry,
    erasure,
    owned_object,
    person,
    report,
)

NOTHING = json.dumps(asdict(Request(prompt="", model="")))
OF_A_PERSON = (report, budget, account, entry, check_in)


async def erase(connection: AsyncConnection, user_id: str, erasure_id: str, now_ms: int) -> Erasure:
    """Remove everything of a person and write the receipt; the person's row is locked first and goes last."""
    await connection.execute(select(person.c.id).where(person.c.id == user_id).with_for_update())
    ordered = select(artwork_order.c.generation_id).where(artwork_order.c.user_id == user_id)
    words = (await connection.execute(ordered.where(artwork_order.c.generation_id.is_not(None)))).scalars().all()
    await _forget_orders(connection, user_id)
    likes = await _take_back(connection, artwork_like, user_id, now_ms)
    favorites = await _take_back(connection, artwork_favorite, user_id, now_ms)
    artworks = (await connection.execute(delete(artwork).where(artwork.c.user_id == user_id))).rowcount
    owned = delete(owned_object).where(owned_object.c.user_id == user_id).returning(owned_object.c.object_key)
    keys = list((await connection.execute(owned)).scalars())
    await blobs.discard(connection, keys, DeletionKind.OBJECT, erasure_id)
    await blobs.discard(connection, words, DeletionKind.GENERATION, erasure_id)
    for table in OF_A_PERSON:
        await connection.execute(delete(table).where(table.c.user_id == user_id))
    await connection.execute(delete(person).where(person.c.id == user_id))
    counts = {"artwork_count": artworks, "like_count": likes, "favorite_count": favorites, "object_count": len(keys)}
    await connection.execute(insert(erasure).values(id=erasure_id, **counts, create_ms=now_ms))
    return Erasure(erasure_id, **counts, remaining_count=len(keys) + len(words), create_ms=now_ms)


async def _forget_orders(connection: AsyncConnection, user_id: str) -> None:
    """Keep of an open order only what recognises its picture when it comes, so that it is removed too."""
    mine = artwork_order.c.user_id == user_id
    over = artwork_order.c.state.in_(ENDED) | artwork_order.c.generation_id.is_(None)
    await connection.execute(delete(artwork_order).where(mine, over))
    values = {"user_id": "", "request": NOTHING, "hold": Hold.NONE, "cost": 0}
    await connection.execute(update(artwork_order).where(mine).values(values))


async def _take_back(connection: AsyncConnection, table: Table, user_id: str, now_ms: int) -> int:
    """Remove reactions; the counts they were part of follow, and so do the scores."""
    gone = delete(table).where(table.c.user_id == user_id).returning(table.c.artwork_id)
    ids = list((await connection.execute(gone)).scalars())
    count = artwork.c.like_count if table is artwork_like else artwork.c.favorite_count
    values = {count: count - 1, artwork.c.hot_due_ms: now_ms}
    await connection.execute(update(artwork).where(artwork.c.id.in_(ids)).values(values))
    return len(ids)
