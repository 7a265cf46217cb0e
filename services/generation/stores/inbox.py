"""Statements on the webhook inbox."""

from collections.abc import Sequence

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now, upsert
from services.chassis.names import new_id
from services.generation.model import REMINDER, Attempt, Callback
from services.generation.stores import rows
from services.generation.stores.tables import inbox

TAKEN_SECONDS = 10.0  # a reader that died lets go after this; reading a record twice is harmless


async def add(connection: AsyncConnection, new: Callback) -> bool:
    """Keep a webhook; False when it is there already."""
    values = {"id": new.id, "kind": new.kind, "attempt_id": new.attempt_id, "task_id": new.task_id, "code": new.code}
    statement = upsert(connection, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    statement = statement.on_conflict_do_nothing(index_elements=["attempt_id", "task_id", "code"])
    return (await connection.execute(statement.returning(inbox.c.id))).first() is not None


async def remind(connection: AsyncConnection, attempt_id: str, task_id: str) -> None:
    """Keep a task in mind for which its generation does not wait, unless an open webhook does."""
    named = and_(inbox.c.attempt_id == attempt_id, inbox.c.task_id == task_id, inbox.c.verdict == "")
    if await connection.scalar(select(exists().where(named))):
        return
    values = {"id": new_id("cb"), "kind": REMINDER, "attempt_id": attempt_id, "task_id": task_id, "code": 0}
    statement = upsert(connection, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    again = {"verdict": "", "tries": 0, "due_ms": db_now(), "create_ms": db_now()}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["attempt_id", "task_id", "code"], set_=again)
    )


async def strangers(connection: AsyncConnection) -> int:
    """How many open webhooks came without a token."""
    bare = select(func.count()).where(inbox.c.verdict == "", inbox.c.attempt_id == "")
    return int(await connection.scalar(bare) or 0)


async def take(connection: AsyncConnection, limit: int) -> Sequence[Callback]:
    """Webhooks that are due, oldest first, kept from others for a moment."""
    open_ = select(inbox.c.id).where(inbox.c.verdict == "", inbox.c.due_ms <= db_now())
    chosen = open_.order_by(inbox.c.due_ms).limit(limit).with_for_update(skip_locked=True)
    statement = update(inbox).where(inbox.c.id.in_(chosen))
    values = {"due_ms": db_now() + int(TAKEN_SECONDS * 1000), "tries": inbox.c.tries + 1}
    return [rows.callback_of(row) for row in await connection.execute(statement.values(values).returning(inbox))]


async def finish(connection: AsyncConnection, callback_id: str, verdict: str) -> None:
    """Close a webhook."""
    await connection.execute(update(inbox).where(inbox.c.id == callback_id).values(verdict=verdict))


async def postpone(connection: AsyncConnection, callback: Callback, due_in: float, tries: int) -> None:
    """Look at it again later."""
    statement = update(inbox).where(inbox.c.id == callback.id)
    await connection.execute(statement.values(due_ms=db_now() + int(due_in * 1000), tries=tries))


async def of_attempts(connection: AsyncConnection, chain: Sequence[Attempt]) -> Sequence[Callback]:
    """Every webhook that named one of the attempts or its task, oldest first."""
    tasks = [attempt.task_id for attempt in chain if attempt.task_id]
    named = or_(inbox.c.attempt_id.in_([attempt.id for attempt in chain]), inbox.c.task_id.in_(tasks))
    return [
        rows.callback_of(row)
        for row in await connection.execute(select(inbox).where(named).order_by(inbox.c.create_ms))
    ]
