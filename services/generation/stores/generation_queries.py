"""Reads generations, their outputs, attempts and events by SQL; none of these methods changes a row."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Text, and_, bindparam, func, or_, select

from services.chassis.database import Transaction, db_now
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
# Run for each change and each claim, so that they are built once.
IDENTIFIER = bindparam("identifier", type_=Text)
BY_ID_OR_TASK = (
    select(generation)
    .where(or_(generation.c.id == IDENTIFIER, and_(generation.c.task_id == IDENTIFIER, generation.c.task_id != "")))
    .limit(1)
)
OUTPUTS = (
    select(output)
    .where(output.c.generation_id.in_(bindparam("ids", expanding=True)))
    .order_by(output.c.generation_id, output.c.idx)
)
INBOX_LAG = select(db_now() - func.min(inbox_table.c.due_ms)).where(
    inbox_table.c.verdict == "", inbox_table.c.due_ms <= db_now()
)


class SqlGenerationQueries:
    """The reading half of the generation store, on SQLite or PostgreSQL."""

    def requested(self, transaction: Transaction, request_key: str, sent: Sent) -> Generation | None:
        return of_request(transaction, request_key, sent)

    def get(self, transaction: Transaction, identifier: str) -> Generation:
        return find(transaction, identifier)

    def made_by(self, transaction: Transaction, request_key: str) -> Generation:
        query = select(generation).where(generation.c.request_key == request_key)
        row = transaction.execute(query).first()
        if row is None:
            raise NotFound("There is no generation of this request.", "TASK_NOT_FOUND")
        return with_outputs(transaction, [row])[0]

    def list(self, transaction: Transaction, page: Page) -> Sequence[Generation]:
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
        return with_outputs(transaction, transaction.execute(query).all())

    def attempt(self, transaction: Transaction, attempt_id: str) -> Attempt | None:
        return attempts.find(transaction, attempt_id)

    def attempt_of_task(self, transaction: Transaction, task_id: str) -> Attempt | None:
        return attempts.of_task(transaction, task_id)

    def is_named_by_callback(self, transaction: Transaction, attempt_id: str, task_id: str) -> bool:
        return attempts.is_named_by_callback(transaction, attempt_id, task_id)

    def refusal(self, transaction: Transaction, generation: Generation, codes: Collection[int]) -> Refusal | None:
        return attempts.refusal(transaction, generation, codes)

    def timeline_facts(self, transaction: Transaction, generation: Generation) -> TimelineFacts:
        events = outbox.of_generation(transaction, generation.id)
        chain = attempts.of_generation(transaction, generation.id)
        named = inbox.of_attempts(transaction, chain)
        return TimelineFacts(tuple(events), tuple(chain), tuple(named))

    def events(self, transaction: Transaction, after: int, limit: int) -> Sequence[Event]:
        return outbox.following(transaction, after, limit)

    def backlog(self, transaction: Transaction) -> Backlog:
        """Count the open generations by state, and how long the oldest due callback has waited. Raises Unavailable."""
        found = transaction.execute(OPEN_BY_STATE).all()
        waiting = transaction.scalar(INBOX_LAG)
        return Backlog(
            count={State(row.state): row.rows for row in found},
            oldest_seconds={State(row.state): max(row.oldest_ms, 0) / 1000 for row in found},
            inbox_seconds=max(waiting or 0, 0) / 1000,
        )


def of_request(transaction: Transaction, request_key: str, sent: Sent) -> Generation | None:
    """The generation that a request_key made. Raises AlreadyExists when something else was sent under it."""
    row = transaction.execute(select(generation).where(generation.c.request_key == request_key)).first()
    if row is None:
        return None
    if not _was_sent(row, sent):
        sentence = "This idempotency key was used for a different request. Use a new key."
        raise AlreadyExists(sentence, "IDEMPOTENCY_KEY_REUSED", metadata={"generation": row.id})
    return with_outputs(transaction, [row])[0]


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


def find(transaction: Transaction, identifier: str) -> Generation:
    """By our id or the provider's task id. Raises NotFound."""
    row = transaction.execute(BY_ID_OR_TASK, {"identifier": identifier}).first()
    if row is None:
        raise NotFound("There is no generation with this id. Check the taskId.", "TASK_NOT_FOUND")
    return with_outputs(transaction, [row])[0]


def of_attempt(transaction: Transaction, generation_id: str, *, locked: bool = False) -> Generation:
    """The generation with this id, which must exist; locked, no other transaction changes it until this one ends."""
    query = select(generation).where(generation.c.id == generation_id)
    row = transaction.execute(query.with_for_update() if locked else query).one()
    return with_outputs(transaction, [row])[0]


def with_outputs(transaction: Transaction, found: Sequence[Row[Any]]) -> list[Generation]:
    """Generations from rows, their outputs read in one query."""
    if not found:
        return []
    ids = [row.id for row in found]
    by_id: dict[str, list[Output]] = {identifier: [] for identifier in ids}
    for row in transaction.execute(OUTPUTS, {"ids": ids}):
        by_id[row.generation_id].append(rows.output_of(row))
    return [rows.generation_of(row, by_id[row.id]) for row in found]
