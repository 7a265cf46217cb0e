"""Statements that count orders for the daily quota, in the transaction that stores the order."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now, upsert
from services.chassis.errors import ResourceExhausted
from services.generation.quota import Charge, Quota, day_of, seconds_left
from services.generation.stores.tables import quota_use


async def count(connection: AsyncConnection, charge: Charge) -> Quota:
    """Count one order. Raises ResourceExhausted when the day's are used up (reason RATE_LIMIT)."""
    now = int(await connection.scalar(select(db_now())) or 0)
    used = await _one_more(connection, charge, day_of(now))
    left = seconds_left(now)
    if used is None:
        sentence = f"You have placed the {charge.limit} orders that a day allows. Come back after midnight in Japan."
        raise ResourceExhausted(sentence, metadata={"quota_limit": str(charge.limit)}, retry_after=left)
    if used == 1:
        await connection.execute(delete(quota_use).where(quota_use.c.day < day_of(now)))
    return Quota(charge.limit, charge.limit - used, left)


async def _one_more(connection: AsyncConnection, charge: Charge, day: int) -> int | None:
    """How many orders that makes; None when it is one too many. One statement, so that of two at once one waits."""
    first = upsert(connection, quota_use).values(day=day, subject=charge.subject, used=1)
    another = first.on_conflict_do_update(
        index_elements=["day", "subject"], set_={"used": quota_use.c.used + 1}, where=quota_use.c.used < charge.limit
    )
    used: int | None = await connection.scalar(another.returning(quota_use.c.used))
    return used
