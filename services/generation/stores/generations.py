"""Statements on generations and their outputs."""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import db_now, upsert
from services.chassis.errors import AlreadyExists, NotFound
from services.generation.model import AWAITING, FINAL, MOVES, Failure, Generation, Output, State
from services.generation.ports import Change, FenceLost, Page, Sent
from services.generation.stores import rows
from services.generation.stores.tables import generation, output, work_fault

FILE_STEM_BYTES = 16  # 32 hex digits cannot be guessed
MILESTONES = {State.STORING: "store_ms", **dict.fromkeys(FINAL, "complete_ms")}
NO_FAILURE = Failure("", "")
KEEPS_LEASE = frozenset({State.DIALING, State.SENDING})  # the same worker goes on


async def add(
    connection: AsyncConnection, new: Generation, request_key: str, request_hash: str, sent_hash: str
) -> str | None:
    """Insert a new generation, due now; None when its request_key is taken."""
    hashes = {"request_hash": request_hash, "sent_hash": sent_hash}
    values = {**rows.generation_columns(new), "request_key": request_key or None, **hashes}
    statement = upsert(connection, generation).values(
        due_ms=db_now(), create_ms=db_now(), update_ms=db_now(), ready_ms=db_now(), **values
    )
    fresh = statement.on_conflict_do_nothing(index_elements=["request_key"])
    inserted: str | None = await connection.scalar(fresh.returning(generation.c.id))
    return inserted


async def of_request(connection: AsyncConnection, request_key: str, sent: Sent) -> Generation | None:
    """The generation that a request_key made. Raises AlreadyExists when something else was sent under it."""
    row = (await connection.execute(select(generation).where(generation.c.request_key == request_key))).first()
    if row is None:
        return None
    if not was_sent(row, sent):
        sentence = "This idempotency key was used for a different request. Use a new key."
        raise AlreadyExists(sentence, "IDEMPOTENCY_KEY_REUSED", metadata={"generation": row.id})
    return (await with_outputs(connection, [row]))[0]


def was_sent(row: Row[Any], sent: Sent) -> bool:
    """True when a row's order is what a caller sent.

    A row of an older version has no hash of what was sent, only of a digest or of the order with the defaults and our
    own address as they were then. So what was left out may be anything there, and of pictures the number counts.
    """
    if row.sent_hash:
        return bool(row.sent_hash == sent.hash)
    if sent.draft is None:
        return bool(row.request_hash == sent.hash)
    kept, given = rows.draft_of(row.draft), sent.draft
    named = {name: getattr(given, name) for name in ("model", "prompt", "aspect_ratio", "output_format")}
    left_out = {name: value for name, value in named.items() if value and getattr(kept, name) not in {value, ""}}
    parameters = {name: kept.parameters.get(name) for name in given.parameters}
    return not left_out and parameters == dict(given.parameters) and len(kept.image_uris) in {len(given.image_uris), 0}


async def find(connection: AsyncConnection, identifier: str) -> Generation:
    """By our id or the provider's task id. Raises NotFound."""
    of_task = and_(generation.c.task_id == identifier, generation.c.task_id != "")
    match = or_(generation.c.id == identifier, of_task)
    row = (await connection.execute(select(generation).where(match).limit(1))).first()
    if row is None:
        raise NotFound("There is no generation with this id. Check the taskId.", "TASK_NOT_FOUND")
    return (await with_outputs(connection, [row]))[0]


async def made_by(connection: AsyncConnection, request_key: str) -> Generation:
    """By the request's key. Raises NotFound."""
    row = (await connection.execute(select(generation).where(generation.c.request_key == request_key))).first()
    if row is None:
        raise NotFound("There is no generation of this request.", "TASK_NOT_FOUND")
    return (await with_outputs(connection, [row]))[0]


async def newest(connection: AsyncConnection, page: Page) -> Sequence[Generation]:
    """A page by (create_ms, id) descending."""
    query = select(generation).order_by(generation.c.create_ms.desc(), generation.c.id.desc()).limit(page.size)
    if page.after:
        created, identifier = page.after
        earlier = and_(generation.c.create_ms == created, generation.c.id < identifier)
        query = query.where(or_(generation.c.create_ms < created, earlier))
    if page.states:
        query = query.where(generation.c.state.in_(page.states))
    if page.start_ms:
        query = query.where(generation.c.create_ms >= page.start_ms)
    if page.end_ms:
        query = query.where(generation.c.create_ms < page.end_ms)
    return await with_outputs(connection, (await connection.execute(query)).all())


async def move(
    connection: AsyncConnection, held: Generation, state: State, wanted: Change, **columns: Any
) -> Generation:
    """Apply a fenced change of state. Raises FenceLost, and ValueError for a move that the model does not know."""
    if state not in MOVES[held.state]:
        raise ValueError(f"{held.state} may not become {state}")
    return await change(connection, held, state, wanted, **columns)


async def change(
    connection: AsyncConnection, held: Generation, state: State, wanted: Change, **columns: Any
) -> Generation:
    """Apply a fenced change; the generation as it is now. Raises FenceLost."""
    values = {
        "state": state,
        "tries": wanted.tries,
        "due_ms": db_now() + int(wanted.due_in * 1000),
        "update_ms": db_now(),
        **(rows.failure_columns(wanted.failure) or cleared(held, state)),
        **columns,
    }
    if wanted.progress is not None:
        values["progress"] = wanted.progress
    if state not in KEEPS_LEASE:
        values["lease_until_ms"] = 0
    if state is not held.state and (milestone := MILESTONES.get(state)):
        values[milestone] = db_now()
    row = await fenced(connection, held, values)
    await put_outputs(connection, held.id, wanted.outputs)
    return (await with_outputs(connection, [row]))[0]


async def fenced(connection: AsyncConnection, held: Generation, values: rows.Columns) -> Row[Any]:
    """Change the row if it is still as it was read; the row as it is now. Raises FenceLost."""
    unchanged = and_(generation.c.id == held.id, generation.c.state == held.state, generation.c.fence == held.fence)
    changed = update(generation).where(unchanged).values(values).returning(generation)
    row: Row[Any] | None = (await connection.execute(changed)).first()
    if row is None:
        raise FenceLost(held.id)
    return row


def cleared(held: Generation, state: State) -> rows.Columns:
    """Columns that clear the end of an UNKNOWN that moves on: it has not ended, and has no failure."""
    news = held.state is State.UNKNOWN and state is not held.state
    return {**rows.failure_columns(NO_FAILURE), "complete_ms": 0} if news else {}


async def restart(connection: AsyncConnection, held: Generation) -> Generation:
    """READY anew, without the outputs of the attempts before. Raises FenceLost."""
    blank: dict[str, Any] = dict.fromkeys(("attempt_id", "task_id", "reason", "message"), "")
    zero = ("progress", "provider_code", "submit_ms", "store_ms", "complete_ms", "lease_until_ms", "tries")
    values = {**blank, **dict.fromkeys(zero, 0), "state": State.READY, "fence": held.fence + 1}
    times = dict.fromkeys(("ready_ms", "due_ms", "update_ms"), db_now())
    row = await fenced(connection, held, {**values, **times})
    await unpark(connection, held.id)
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    return rows.generation_of(row, ())


async def deliver(
    connection: AsyncConnection, held: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
) -> Generation:
    """STORING with the results of a task that was no longer awaited. Raises FenceLost."""
    values = {**rows.failure_columns(NO_FAILURE), "attempt_id": attempt_id, "task_id": task_id, "progress": 100}
    zero = dict.fromkeys(("tries", "lease_until_ms", "complete_ms"), 0)
    times = dict.fromkeys(("store_ms", "due_ms", "update_ms"), db_now())
    row = await fenced(connection, held, {**values, **zero, **times, "state": State.STORING, "fence": held.fence + 1})
    await unpark(connection, held.id)
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    await put_outputs(connection, held.id, outputs)
    return rows.generation_of(row, outputs)


async def disown(
    connection: AsyncConnection, held: Generation, attempt_id: str, task_id: str, due_in: float
) -> Generation | None:
    """Take a task from a generation that awaits it by mistake: its answer is lost. None when it awaits another.

    One that has ended stays as it is, but for the task.
    """
    if (held.attempt_id, held.task_id) != (attempt_id, task_id):
        return None
    if held.state not in AWAITING:
        row = await fenced(connection, held, {"task_id": "", "fence": held.fence + 1, "update_ms": db_now()})
        return (await with_outputs(connection, [row]))[0]
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    await unpark(connection, held.id)
    blank = {"task_id": "", "fence": held.fence + 1, **dict.fromkeys(("progress", "submit_ms", "store_ms"), 0)}
    return await change(connection, held, State.AMBIGUOUS, Change(due_in=due_in), **blank)


async def unpark(connection: AsyncConnection, generation_id: str) -> None:
    """Forget the failures of earlier work: a new chain of attempts begins."""
    await connection.execute(delete(work_fault).where(work_fault.c.work_id == generation_id))


async def restore(connection: AsyncConnection, old: Generation) -> bool:
    """Insert a generation as it was elsewhere, with its times; False when its id is taken."""
    times = {name: getattr(old, name) for name in ("create_ms", "update_ms", "complete_ms")}
    marks = {"due_ms": old.update_ms, "ready_ms": old.create_ms, "task_id": old.task_id, "progress": old.progress}
    values = {**rows.generation_columns(old), **rows.failure_columns(old.failure), **times, **marks, "request_hash": ""}
    fresh = upsert(connection, generation).values(values).on_conflict_do_nothing(index_elements=["id"])
    inserted = await connection.scalar(fresh.returning(generation.c.id))
    if inserted:
        await put_outputs(connection, old.id, old.outputs)
    return bool(inserted)


async def complete(connection: AsyncConnection, held: Generation, outputs: Sequence[Output]) -> Generation:
    """SUCCEEDED with pictures that are stored after all. Raises FenceLost."""
    late = Change(outputs=tuple(outputs), progress=100)
    return await change(connection, held, State.SUCCEEDED, late, **rows.failure_columns(NO_FAILURE))


async def accept(connection: AsyncConnection, attempt_id: str, task_id: str, due_in: float) -> bool:
    """Give the generation of an attempt its task id, RUNNING if it was unsure of its answer; False when it has one."""
    unsure = generation.c.state.in_((State.SENDING, State.AMBIGUOUS, State.UNKNOWN))
    statement = update(generation).where(generation.c.attempt_id == attempt_id, generation.c.task_id == "")
    learnt = {"task_id": task_id, "submit_ms": db_now(), "update_ms": db_now()}
    running = {
        "state": State.RUNNING,
        "fence": generation.c.fence + 1,
        "lease_until_ms": 0,
        "tries": 0,
        "complete_ms": 0,
        **rows.failure_columns(NO_FAILURE),
        "due_ms": db_now() + int(due_in * 1000),
    }
    moved = await connection.execute(statement.where(unsure).values(**learnt, **running))
    return bool(moved.rowcount or (await connection.execute(statement.values(learnt))).rowcount)


async def of_attempt(connection: AsyncConnection, generation_id: str, *, locked: bool = False) -> Generation:
    """The generation with this id, which must exist; locked, no other transaction changes it until this one ends."""
    query = select(generation).where(generation.c.id == generation_id)
    row = (await connection.execute(query.with_for_update() if locked else query)).one()
    return (await with_outputs(connection, [row]))[0]


async def put_outputs(connection: AsyncConnection, generation_id: str, outputs: Sequence[Output]) -> None:
    """Insert new outputs, each with the name of its file, and update known ones, whose files keep their names."""
    for changed in outputs:
        values = rows.output_columns(generation_id, changed)
        # A stored picture that comes without a name is a restored one of an older version: its key says all.
        stem = values.pop("file_stem") or ("" if changed.key else secrets.token_hex(FILE_STEM_BYTES))
        statement = upsert(connection, output).values(**values, file_stem=stem)
        await connection.execute(statement.on_conflict_do_update(index_elements=["generation_id", "idx"], set_=values))


async def with_outputs(connection: AsyncConnection, found: Sequence[Row[Any]]) -> list[Generation]:
    """Generations from rows, their outputs read in one query."""
    if not found:
        return []
    ids = [row.id for row in found]
    query = select(output).where(output.c.generation_id.in_(ids)).order_by(output.c.generation_id, output.c.idx)
    by_id: dict[str, list[Output]] = {identifier: [] for identifier in ids}
    for row in await connection.execute(query):
        by_id[row.generation_id].append(rows.output_of(row))
    return [rows.generation_of(row, by_id[row.id]) for row in found]
