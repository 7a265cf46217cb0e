"""Reads generations, their outputs, attempts and events by SQL; none of these methods changes a row."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import Database, db_now, shielded
from services.chassis.errors import AlreadyExists, NotFound
from services.generation.metrics import OPEN, Backlog
from services.generation.model import Attempt, Event, Generation, Output, State, TimelineFacts
from services.generation.ports import Page, Refusal, Sent
from services.generation.stores import attempts, inbox, outbox, rows
from services.generation.stores.tables import generation, output
from services.generation.stores.tables import inbox as inbox_table

# Counted by an index over open rows, so that the cost stays the same as data grows.
OPEN_BY_STATE = (
    select(
        generation.c.state,
        func.count().label("rows"),
        (db_now() - func.min(generation.c.ready_ms)).label("oldest_ms"),
    )
    .where(generation.c.state.in_(OPEN))
    .group_by(generation.c.state)
)
INBOX_LAG = select(db_now() - func.min(inbox_table.c.due_ms)).where(
    inbox_table.c.verdict == "", inbox_table.c.due_ms <= db_now()
)


@shielded
class SqlGenerationQueries:
    """The reading half of the generation store, on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def requested(self, request_key: str, sent: Sent) -> Generation | None:
        async with self._database.read() as connection:
            return await of_request(connection, request_key, sent)

    async def get(self, identifier: str) -> Generation:
        async with self._database.read() as connection:
            return await find(connection, identifier)

    async def made_by(self, request_key: str) -> Generation:
        query = select(generation).where(generation.c.request_key == request_key)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
            if row is None:
                raise NotFound("There is no generation of this request.", "TASK_NOT_FOUND")
            return (await with_outputs(connection, [row]))[0]

    async def list(self, page: Page) -> Sequence[Generation]:
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
        async with self._database.read() as connection:
            return await with_outputs(connection, (await connection.execute(query)).all())

    async def attempt(self, attempt_id: str) -> Attempt | None:
        async with self._database.read() as connection:
            return await attempts.find(connection, attempt_id)

    async def attempt_of_task(self, task_id: str) -> Attempt | None:
        async with self._database.read() as connection:
            return await attempts.of_task(connection, task_id)

    async def is_named_by_callback(self, attempt_id: str, task_id: str) -> bool:
        async with self._database.read() as connection:
            return await attempts.is_named_by_callback(connection, attempt_id, task_id)

    async def refusal(self, generation: Generation, codes: Collection[int]) -> Refusal | None:
        async with self._database.read() as connection:
            return await attempts.refusal(connection, generation, codes)

    async def timeline_facts(self, generation: Generation) -> TimelineFacts:
        async with self._database.read() as connection:
            events = await outbox.of_generation(connection, generation.id)
            chain = await attempts.of_generation(connection, generation.id)
            named = await inbox.of_attempts(connection, chain)
        return TimelineFacts(tuple(events), tuple(chain), tuple(named))

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        async with self._database.read() as connection:
            return await outbox.following(connection, after, limit)

    async def backlog(self) -> Backlog:
        """Count the open generations by state, and how long the oldest due callback has waited. Raises Unavailable."""
        async with self._database.read() as connection:
            found = (await connection.execute(OPEN_BY_STATE)).all()
            waiting = await connection.scalar(INBOX_LAG)
        return Backlog(
            count={State(row.state): row.rows for row in found},
            oldest_seconds={State(row.state): max(row.oldest_ms, 0) / 1000 for row in found},
            inbox_seconds=max(waiting or 0, 0) / 1000,
        )


async def of_request(connection: AsyncConnection, request_key: str, sent: Sent) -> Generation | None:
    """The generation that a request_key made. Raises AlreadyExists when something else was sent under it."""
    row = (await connection.execute(select(generation).where(generation.c.request_key == request_key))).first()
    if row is None:
        return None
    if not _was_sent(row, sent):
        sentence = "This idempotency key was used for a different request. Use a new key."
        raise AlreadyExists(sentence, "IDEMPOTENCY_KEY_REUSED", metadata={"generation": row.id})
    return (await with_outputs(connection, [row]))[0]


def _was_sent(row: Row[Any], sent: Sent) -> bool:
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


async def of_attempt(connection: AsyncConnection, generation_id: str, *, locked: bool = False) -> Generation:
    """The generation with this id, which must exist; locked, no other transaction changes it until this one ends."""
    query = select(generation).where(generation.c.id == generation_id)
    row = (await connection.execute(query.with_for_update() if locked else query)).one()
    return (await with_outputs(connection, [row]))[0]


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
