"""Deletes what has served: old events and closed webhooks a few at a time, and what somebody wants forgotten."""

from dataclasses import asdict, replace
from typing import Any

import orjson
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database, db_now, upsert
from services.chassis.unbroken import unbroken
from services.generation.model import FINAL
from services.generation.stores import rows
from services.generation.stores.outbox import STREAM
from services.generation.stores.tables import generation, inbox, outbox, pruned

MAX_BARE = 10_000  # closed webhooks without a token; each is a row of under a kilobyte


@unbroken
class SqlRetention:
    """Prunes the outbox and the inbox. Looks before it writes, so that an idle town writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune_events(self, older_than: float, limit: int) -> int:
        """See sweeper. Of two at once one may find nothing left."""
        async with self._database.read() as connection:
            found = (await connection.execute(old_events(older_than, limit))).one()
            through, count = found.through, found.rows
        if count:
            async with self._database.write() as connection:
                await _note(connection, through)
                await connection.execute(delete(outbox).where(outbox.c.sequence <= through))
        return int(count)

    async def prune_callbacks(self, older_than: float, limit: int) -> int:
        """See sweeper. Of those without a token, which anybody can send, only the newest are kept."""
        closed = select(inbox.c.id).where(
            inbox.c.verdict != "", inbox.c.create_ms < db_now() - milliseconds(older_than)
        )
        bare = select(inbox.c.id).where(inbox.c.verdict != "", inbox.c.attempt_id == "")
        async with self._database.read() as connection:
            old = list(await connection.scalars(closed.order_by(inbox.c.create_ms).limit(limit)))
            beyond = bare.order_by(inbox.c.create_ms.desc()).offset(MAX_BARE).limit(limit)
            old = old or list(await connection.scalars(beyond))
        if old:
            async with self._database.write() as connection:
                await connection.execute(delete(inbox).where(inbox.c.id.in_(old), inbox.c.verdict != ""))
        return len(old)


def old_events(older_than: float, limit: int) -> Select[Any, int]:
    """The last of the oldest events that are past their time, and how many. It reads no more than `limit` rows."""
    oldest = select(outbox.c.sequence, outbox.c.create_ms).order_by(outbox.c.sequence).limit(limit).subquery()
    past = oldest.c.create_ms < db_now() - milliseconds(older_than)
    return select(func.max(oldest.c.sequence).label("through"), func.count().label("rows")).where(past)


async def _note(connection: AsyncConnection, through: int) -> None:
    """Note how far the outbox is gone; never less far than before."""
    statement = upsert(connection, pruned).values(stream=STREAM, through=through)
    further = pruned.c.through < through
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["stream"], set_={"through": through}, where=further)
    )


def milliseconds(seconds: float) -> int:
    """Seconds as the tables count them."""
    return int(seconds * 1000)


async def forget(connection: AsyncConnection, generation_id: str) -> bool:
    """Empty what a person gave; False while it is needed. The new fence stops whoever is just retrying."""
    chosen = generation.c.id == generation_id
    given = await connection.scalar(select(generation.c.draft).where(chosen, generation.c.state.in_(FINAL)))
    if given is None:
        return False
    blank = orjson.dumps(asdict(replace(rows.draft_of(given), prompt="", image_uris=()))).decode()
    emptied = update(generation).where(chosen, generation.c.state.in_(FINAL))
    done = await connection.execute(emptied.values(draft=blank, fence=generation.c.fence + 1, update_ms=db_now()))
    return bool(done.rowcount)
