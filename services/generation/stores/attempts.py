"""Statements on attempts: who was asked, what was answered."""

from collections.abc import Collection, Sequence

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now
from services.chassis.errors import AlreadyExists
from services.generation.answers import Accepted, Outcome
from services.generation.model import Attempt, Generation
from services.generation.ports import Refusal
from services.generation.stores import rows
from services.generation.stores.tables import attempt

MAX_DETAIL_LENGTH = 512  # enough to explain; an upstream page is not kept whole


async def add(connection: AsyncConnection, new: Attempt) -> None:
    """Insert an attempt that is about to be made."""
    values = {
        "id": new.id,
        "generation_id": new.generation_id,
        "account": new.account,
        "key_print": new.key_print,
        "token_digest": new.token_digest,
    }
    await connection.execute(insert(attempt).values(create_ms=db_now(), **values))


async def find(connection: AsyncConnection, attempt_id: str) -> Attempt | None:
    """One attempt by its id."""
    row = (await connection.execute(select(attempt).where(attempt.c.id == attempt_id))).first()
    return rows.attempt_of(row) if row else None


async def of_task(connection: AsyncConnection, task_id: str, account: str = "") -> Attempt | None:
    """The attempt that was answered with a task id, of one account or of whichever."""
    query = select(attempt).where(attempt.c.task_id == task_id)
    query = query.where(attempt.c.account == account) if account else query
    row = (await connection.execute(query.order_by(attempt.c.create_ms).limit(1))).first()
    return rows.attempt_of(row) if row else None


async def of_generation(connection: AsyncConnection, generation_id: str) -> Sequence[Attempt]:
    """Every attempt of a generation, oldest first."""
    query = select(attempt).where(attempt.c.generation_id == generation_id).order_by(attempt.c.create_ms, attempt.c.id)
    return [rows.attempt_of(row) for row in await connection.execute(query)]


async def refusal(connection: AsyncConnection, held: Generation, codes: Collection[int]) -> Refusal | None:
    """Since when the attempts of an order have been refused with some codes, and what was said last."""
    refused = and_(attempt.c.generation_id == held.id, attempt.c.create_ms >= held.ready_ms, attempt.c.code.in_(codes))
    query = select(attempt, db_now().label("now")).where(refused).order_by(attempt.c.create_ms, attempt.c.id)
    found = (await connection.execute(query)).all()
    return Refusal((found[0].now - found[0].create_ms) / 1000, found[-1].code, found[-1].detail) if found else None


async def accept(connection: AsyncConnection, attempt_id: str, task_id: str) -> None:
    """Note the task id, unless one is noted already. Raises AlreadyExists when another attempt has it."""
    asked = await find(connection, attempt_id)
    owner = await of_task(connection, task_id, asked.account) if asked else None
    if owner and owner.id != attempt_id:
        raise AlreadyExists("Another attempt of the account was answered with this task.", "TASK_TAKEN")
    statement = update(attempt).where(attempt.c.id == attempt_id, attempt.c.task_id.is_(None))
    await connection.execute(statement.values(task_id=task_id))


async def note(connection: AsyncConnection, attempt_id: str, outcome: Outcome) -> None:
    """Keep an outcome for people who ask later."""
    detail = "" if isinstance(outcome, Accepted) else getattr(outcome, "message", getattr(outcome, "detail", ""))
    values = {"outcome": type(outcome).__name__.upper(), "detail": detail[:MAX_DETAIL_LENGTH], "answer_ms": db_now()}
    values["code"] = getattr(outcome, "code", 0)
    await connection.execute(update(attempt).where(attempt.c.id == attempt_id).values(values))
