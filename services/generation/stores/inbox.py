"""Statements on the webhook inbox."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now, upsert
from services.chassis.names import new_id
from services.chassis.parking import not_parked
from services.generation.model import INBOX, REMINDER, Attempt, Callback
from services.generation.stores import rows
from services.generation.stores.tables import inbox, work_fault

TAKEN_SECONDS = 10.0  # a reader that died lets go after this; reading a record twice is harmless
# A webhook that is repeated all the time has its record read once a second (docs/provider.md#limits: three).
REPEAT_GAP_MS = 1_000
CONTRADICTED_MS = 5_000  # before a record is read again that said failed where a webhook had said success
SUCCESS = 200  # the code of a webhook that tells of a result
# Verdicts after which a repetition can tell nothing new: the generation was told, or has the result.
SETTLED = ("done", "delivered", "extra", "recorded")


async def add(connection: AsyncConnection, new: Callback) -> bool:
    """Keep a webhook; False when it is there already, which opens it again unless it was settled."""
    values = {"id": new.id, "kind": new.kind, "attempt_id": new.attempt_id, "task_id": new.task_id, "code": new.code}
    statement = upsert(connection, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    statement = statement.on_conflict_do_nothing(index_elements=["attempt_id", "task_id", "code"])
    if (await connection.execute(statement.returning(inbox.c.id))).first() is not None:
        return True
    same = _named(new.attempt_id, new.task_id, inbox.c.code == new.code, inbox.c.verdict.not_in(SETTLED))
    await _tell_again(connection, same)
    return False


async def remind(connection: AsyncConnection, attempt_id: str, task_id: str) -> None:
    """Keep a task in mind for which its generation does not wait; an open webhook of the task is told instead."""
    if await _tell_again(connection, _named(attempt_id, task_id, inbox.c.verdict == "")):
        return
    values = {"id": new_id("cb"), "kind": REMINDER, "attempt_id": attempt_id, "task_id": task_id, "code": 0}
    statement = upsert(connection, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    again = {"verdict": "", "tries": 0, "due_ms": db_now(), "create_ms": db_now(), "news": inbox.c.news + 1}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["attempt_id", "task_id", "code"], set_=again)
    )


async def contradict(connection: AsyncConnection, attempt_id: str, task_id: str) -> None:
    """Open again what told of the success of a task whose record says failed: one of the two is mistaken."""
    told = _named(attempt_id, task_id, inbox.c.code == SUCCESS, inbox.c.verdict == "done")
    bare = _named("", task_id, inbox.c.code == SUCCESS, inbox.c.verdict == "done")
    opened = {"verdict": "", "tries": 0, "news": inbox.c.news + 1, "due_ms": db_now() + CONTRADICTED_MS}
    await connection.execute(update(inbox).where(or_(told, bare)).values(opened))


async def ask_again(connection: AsyncConnection, attempt_id: str) -> None:
    """Look anew at what came with an attempt's token and found it awaiting another task."""
    chosen = and_(inbox.c.attempt_id == attempt_id, inbox.c.verdict.in_(("", "failed", "unknown")))
    await _tell_again(connection, chosen)


def _named(attempt_id: str, task_id: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(inbox.c.attempt_id == attempt_id, inbox.c.task_id == task_id, *more)


async def _tell_again(connection: AsyncConnection, chosen: ColumnElement[bool]) -> bool:
    """Count the news on rows, so that whoever looks at one cannot close it, and make them due; False without any.

    A closed row begins anew. One that is open keeps its age and its count of looks. One that is parked is released, if
    it names an attempt: anybody may repeat a bare one.
    """
    was_open = inbox.c.verdict == ""
    soon = db_now() + REPEAT_GAP_MS
    values = {
        "verdict": "",
        "news": inbox.c.news + 1,
        "tries": case((was_open, inbox.c.tries), else_=0),
        "create_ms": case((was_open, inbox.c.create_ms), else_=db_now()),
        "due_ms": case((and_(was_open, inbox.c.due_ms < soon), inbox.c.due_ms), (was_open, soon), else_=db_now()),
    }
    told = bool((await connection.execute(update(inbox).where(chosen).values(values))).rowcount)
    named = select(inbox.c.id).where(chosen, inbox.c.attempt_id != "")
    parked = and_(work_fault.c.loop == INBOX, work_fault.c.park_ms > 0, work_fault.c.work_id.in_(named))
    await connection.execute(delete(work_fault).where(parked))
    return told


async def strangers(connection: AsyncConnection) -> int:
    """How many open webhooks came without a token."""
    return await _open_of(connection, "")


async def _open_of(connection: AsyncConnection, attempt_id: str) -> int:
    counted = select(func.count()).where(inbox.c.verdict == "", inbox.c.attempt_id == attempt_id)
    return int(await connection.scalar(counted) or 0)


async def tasks_of(connection: AsyncConnection, attempt_id: str) -> int:
    """How many open webhooks name an attempt."""
    return await _open_of(connection, attempt_id)


async def take(connection: AsyncConnection, limit: int) -> Sequence[Callback]:
    """Webhooks that are due and not parked, oldest first, kept from others for a moment."""
    open_ = select(inbox.c.id).where(
        inbox.c.verdict == "", inbox.c.due_ms <= db_now(), not_parked(work_fault, INBOX, inbox.c.id)
    )
    chosen = open_.order_by(inbox.c.due_ms).limit(limit).with_for_update(skip_locked=True)
    statement = update(inbox).where(inbox.c.id.in_(chosen))
    values = {"due_ms": db_now() + int(TAKEN_SECONDS * 1000), "tries": inbox.c.tries + 1}
    age = (db_now() - inbox.c.create_ms).label("age_ms")
    taken = await connection.execute(statement.values(values).returning(inbox, age))
    return [replace(rows.callback_of(row), age_seconds=max(row.age_ms, 0) / 1000) for row in taken]


def _unchanged(callback: Callback) -> ColumnElement[bool]:
    return and_(inbox.c.id == callback.id, inbox.c.verdict == "", inbox.c.news == callback.news)


async def finish(connection: AsyncConnection, callback: Callback, verdict: str) -> bool:
    """Close a webhook, unless it came again since it was taken."""
    closed = await connection.execute(update(inbox).where(_unchanged(callback)).values(verdict=verdict))
    if not closed.rowcount:
        await connection.execute(
            update(inbox).where(inbox.c.id == callback.id, inbox.c.verdict == "").values(due_ms=db_now())
        )
    return bool(closed.rowcount)


async def postpone(connection: AsyncConnection, callback: Callback, due_in: float, tries: int) -> None:
    """Look at it again later, unless it came again since it was taken and is due of itself."""
    statement = update(inbox).where(_unchanged(callback))
    await connection.execute(statement.values(due_ms=db_now() + int(due_in * 1000), tries=tries))


async def of_attempts(connection: AsyncConnection, chain: Sequence[Attempt]) -> Sequence[Callback]:
    """Every webhook that named one of the attempts or its task, oldest first."""
    tasks = [attempt.task_id for attempt in chain if attempt.task_id]
    named = or_(inbox.c.attempt_id.in_([attempt.id for attempt in chain]), inbox.c.task_id.in_(tasks))
    return [
        rows.callback_of(row)
        for row in await connection.execute(select(inbox).where(named).order_by(inbox.c.create_ms))
    ]
