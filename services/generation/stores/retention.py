"""Retention: deletes old events and closed callbacks a batch at a time, and prompts that are to be forgotten."""

from dataclasses import asdict, replace
from typing import Any

import orjson
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database, db_now, upsert
from services.chassis.shielding import shielded
from services.generation.model import FINAL
from services.generation.stores import rows
from services.generation.stores.outbox import STREAM
from services.generation.stores.tables import generation, inbox, outbox, pruned

MAX_BARE = 10_000  # closed callbacks without a token; each is a row of under a kilobyte


@shielded
class SqlRetention:
    """Prunes the outbox and the inbox. Reads before it writes, so that an idle stack writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune_events(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` events older than `older_than` seconds; how many. Of two at once one may find none."""
        async with self._database.read() as connection:
            found = (await connection.execute(old_events(older_than, limit))).one()
            through, count = found.through, found.rows
        if count:
            async with self._database.write() as connection:
                await _note(connection, through)
                await connection.execute(delete(outbox).where(outbox.c.sequence <= through))
        return int(count)

    async def prune_callbacks(self, older_than: float, limit: int) -> int:
        """Delete closed callbacks older than `older_than` seconds, and all but the newest without a token; how many."""
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
    """Record up to which sequence events are deleted; never less than before."""
    statement = upsert(connection, pruned).values(stream=STREAM, through=through)
    further = pruned.c.through < through
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["stream"], set_={"through": through}, where=further)
    )


def milliseconds(seconds: float) -> int:
    """Seconds as the tables count them."""
    return int(seconds * 1000)


async def forget(connection: AsyncConnection, generation_id: str) -> bool:
    """Empty prompt and input pictures of an ended generation; False otherwise. The new fence stops a retry."""
    chosen = generation.c.id == generation_id
    given = await connection.scalar(select(generation.c.draft).where(chosen, generation.c.state.in_(FINAL)))
    if given is None:
        return False
    blank = orjson.dumps(asdict(replace(rows.draft_of(given), prompt="", image_uris=()))).decode()
    emptied = update(generation).where(chosen, generation.c.state.in_(FINAL))
    done = await connection.execute(emptied.values(draft=blank, fence=generation.c.fence + 1, update_ms=db_now()))
    return bool(done.rowcount)
