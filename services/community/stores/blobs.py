"""Whose bytes an object is, and which are to be removed: written with the rows that they belong to."""

from collections.abc import Iterable

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now, upsert
from services.community.stores.tables import discarded_object, owned_object


async def own(connection: AsyncConnection, object_key: str, user_id: str) -> None:
    """Note whose bytes these are, unless somebody's."""
    values = {"object_key": object_key, "user_id": user_id}
    await connection.execute(upsert(connection, owned_object).values(values).on_conflict_do_nothing())


async def disown(connection: AsyncConnection, object_key: str, user_id: str) -> bool:
    """Forget whose bytes these are; False when they are not this person's."""
    mine = delete(owned_object).where(owned_object.c.object_key == object_key, owned_object.c.user_id == user_id)
    return (await connection.execute(mine)).rowcount > 0


async def discard(connection: AsyncConnection, object_keys: Iterable[str], erasure_id: str = "") -> None:
    """Have bytes removed; the sweeper does it, again and again until storage has said yes."""
    rows = [
        {"object_key": key, "erasure_id": erasure_id, "due_ms": db_now(), "tries": 0}
        for key in dict.fromkeys(object_keys)
    ]
    for row in rows:
        statement = upsert(connection, discarded_object).values(row)
        same = {"erasure_id": statement.excluded.erasure_id}
        await connection.execute(statement.on_conflict_do_update(index_elements=["object_key"], set_=same))
