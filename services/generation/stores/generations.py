"""The generation store on SQL: takes orders, leases work, moves generations, and records what providers answer.

A change of a generation is fenced: it applies to the row only while state and fence are as the caller read them. The
change, its outbox event, and what it means for attempts and for the inbox are committed together. The functions below
the class are statements on the tables of generations and their outputs.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Row, and_, delete, select, update

from services.chassis import failpoints
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.errors import Aborted
from services.generation import metrics
from services.generation.model import (
    AWAITING,
    DECLINABLE,
    FINAL,
    MOVES,
    Attempt,
    Failure,
    Generation,
    Output,
    Placed,
    State,
)
from services.generation.outcomes import Outcome
from services.generation.ports import NOTHING, Change, FenceLost, Sent
from services.generation.quota import Charge
from services.generation.stores import attempts, inbox, key_pool, leases, outbox, quotas, rows
from services.generation.stores.generation_queries import (
    SqlGenerationQueries,
    find,
    of_attempt,
    of_request,
    with_outputs,
)
from services.generation.stores.tables import attempt as attempt_table
from services.generation.stores.tables import generation, output, work_fault

FILE_STEM_BYTES = 16  # 32 hex digits cannot be guessed
MILESTONES = {State.STORING: "store_ms", **dict.fromkeys(FINAL, "complete_ms")}
NO_FAILURE = Failure("", "")
KEEPS_LEASE = frozenset({State.DIALING, State.SENDING})  # the same worker goes on


class SqlGenerationStore(SqlGenerationQueries):
    """The generation store on SQLite or PostgreSQL. Notices of a change run once it is committed."""

    def insert(
        self,
        transaction: Transaction,
        generation: Generation,
        request_key: str,
        request_hash: str,
        charges: Sequence[Charge] = (),
        *,
        sent_hash: str = "",
    ) -> Placed:
        if _add(transaction, generation, request_key, request_hash, sent_hash) is None:
            first = of_request(transaction, request_key, Sent(sent_hash or request_hash))
            if first is None:
                raise Aborted("The same order is being made elsewhere at this moment. Try again.")
            return Placed(first, joined=True)
        quota = quotas.count(transaction, charges)
        stored = find(transaction, generation.id)
        outbox.append(transaction, stored)
        failpoints.reach_in_thread("accept.before_commit")
        transaction.after_commit(partial(metrics.created, stored))
        return Placed(_announced(transaction, stored, stored), quota=quota)

    def any_due(self, transaction: Transaction, states: Collection[State]) -> bool:
        return leases.any_due(transaction, states)

    def claim(
        self, transaction: Transaction, states: Collection[State], limit: int, lease_seconds: float
    ) -> Sequence[Generation]:
        return leases.claim(transaction, states, limit, lease_seconds)

    def renew(self, transaction: Transaction, generation: Generation, lease_seconds: float) -> None:
        leases.renew(transaction, generation, lease_seconds)

    def hold(self, transaction: Transaction, generation: Generation, lease_seconds: float) -> Generation:
        return leases.hold(transaction, generation, lease_seconds)

    def dial(self, transaction: Transaction, generation: Generation, attempt: Attempt) -> Generation:
        attempts.add(transaction, attempt)
        key_pool.count_create(transaction, attempt.id, attempt.account)
        change = Change(tries=generation.tries)
        dialing = _move(transaction, generation, State.DIALING, change, attempt_id=attempt.id, task_id="")
        outbox.append(transaction, dialing)
        return _announced(transaction, generation, dialing)

    def move(
        self, transaction: Transaction, generation: Generation, state: State, change: Change = NOTHING
    ) -> Generation:
        moved = _move(transaction, generation, state, change)
        if state is State.FAILED and moved.task_id:
            inbox.contradict(transaction, moved.attempt_id, moved.task_id)
        outbox.append(transaction, moved)
        return _announced(transaction, generation, moved)

    def touch(self, transaction: Transaction, generation: Generation, change: Change) -> Generation:
        touched = _change(transaction, generation, generation.state, change)
        if touched.visible != generation.visible:
            outbox.append(transaction, touched)
            _announced(transaction, generation, touched)
        return touched

    def cancel(self, transaction: Transaction, generation: Generation) -> Generation:
        raised = generation.fence + 1  # a worker that holds the lease loses it
        canceled = _move(transaction, generation, State.CANCELED, NOTHING, fence=raised)
        _unpark(transaction, generation.id)
        outbox.append(transaction, canceled)
        return _announced(transaction, generation, canceled)

    def restart(
        self, transaction: Transaction, generation: Generation, charges: Sequence[Charge] = (), *, counted_ms: int = 0
    ) -> Placed:
        ready = _restart(transaction, generation)
        quota = quotas.count(transaction, charges, counted_ms)
        if generation.task_id and generation.state is State.UNKNOWN:
            inbox.remind(transaction, generation.attempt_id, generation.task_id)
        outbox.append(transaction, ready)
        return Placed(_announced(transaction, generation, ready), quota=quota)

    def deliver(
        self, transaction: Transaction, generation: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
    ) -> Generation:
        with attempts.one_owner():
            attempts.accept(transaction, attempt_id, task_id, instead=True)
            delivered = _deliver(transaction, generation, attempt_id, task_id, outputs)
            if generation.task_id and generation.task_id != task_id:
                inbox.remind(transaction, generation.attempt_id, generation.task_id)
            outbox.append(transaction, delivered)
        return _announced(transaction, generation, delivered)

    def restore(self, transaction: Transaction, generation: Generation) -> bool:
        return _restore(transaction, generation)

    def complete(self, transaction: Transaction, generation: Generation, outputs: Sequence[Output]) -> Generation:
        late = Change(outputs=tuple(outputs), progress=100)
        unfailed = rows.failure_columns(NO_FAILURE)
        mended = _change(transaction, generation, State.SUCCEEDED, late, **unfailed)
        outbox.append(transaction, mended)
        # Not counted: how long it took says nothing about the provider.
        transaction.notify(mended.id, "outbox")
        return mended

    def forget(self, transaction: Transaction, generation_id: str) -> bool:
        return _forget(transaction, generation_id)

    def old_events(self, transaction: Transaction, older_than: float, limit: int) -> tuple[int, int]:
        return outbox.old_events(transaction, older_than, limit)

    def delete_events(self, transaction: Transaction, through: int) -> None:
        outbox.delete_through(transaction, through)

    def accept(self, transaction: Transaction, attempt_id: str, task_id: str, due_in: float) -> Generation:
        with attempts.one_owner():
            before = _of_attempt(transaction, attempt_id)
            attempts.accept(transaction, attempt_id, task_id)
            changed = _accept(transaction, attempt_id, task_id, due_in)
            now = _of_attempt(transaction, attempt_id)
            if now.task_id != task_id:
                inbox.remind(transaction, attempt_id, task_id)
            if changed:
                outbox.append(transaction, now)
        transaction.notify("inbox")
        return _announced(transaction, before, now)

    def assign(self, transaction: Transaction, attempt_id: str, task_id: str, due_in: float) -> bool:
        rightful = attempts.find(transaction, attempt_id)
        holder = attempts.of_task(transaction, task_id, rightful.account) if rightful else None
        if holder is None or holder.id == attempt_id:
            return True
        if attempts.is_named_by_callback(transaction, holder.id, task_id):
            return False
        if not attempts.disown(transaction, holder.id, task_id):
            return True
        before = _of_attempt(transaction, holder.id, locked=True)
        now = disown(transaction, before, holder.id, task_id, due_in)
        inbox.reopen(transaction, holder.id)
        if now:
            outbox.append(transaction, now)
        transaction.notify("inbox")
        if now:
            _announced(transaction, before, now)
        return True

    def decline(
        self, transaction: Transaction, attempt_id: str, outcome: Outcome, state: State, change: Change
    ) -> bool:
        attempts.note(transaction, attempt_id, outcome)
        before = _of_attempt(transaction, attempt_id, locked=True)
        waits = before.state in DECLINABLE and before.attempt_id == attempt_id and not before.task_id
        now = before
        if waits:
            raised = before.fence + 1  # a recovery at this moment loses it
            now = _change(transaction, before, state, change, fence=raised)
            outbox.append(transaction, now)
        transaction.after_commit(partial(metrics.attempted, outcome))
        if waits:
            _announced(transaction, before, now)
        return waits

    def note_outcome(self, transaction: Transaction, attempt_id: str, outcome: Outcome) -> None:
        attempts.note(transaction, attempt_id, outcome)
        transaction.after_commit(partial(metrics.attempted, outcome))

    def wake(self, transaction: Transaction, generation_id: str) -> bool:
        transaction.notify(State.RUNNING)
        return leases.wake(transaction, generation_id)


def _of_attempt(transaction: Transaction, attempt_id: str, *, locked: bool = False) -> Generation:
    column = attempt_table.c.generation_id
    owner = transaction.scalar(select(column).where(attempt_table.c.id == attempt_id))
    return of_attempt(transaction, str(owner), locked=locked)


def _announced(transaction: Transaction, before: Generation, after: Generation) -> Generation:
    """The generation as it is now; once that is committed, the change is counted and wakes whoever waits for it."""
    transaction.after_commit(partial(metrics.moved, before, after))
    transaction.notify(after.id, after.state, "outbox")
    return after


def _add(transaction: Transaction, new: Generation, request_key: str, request_hash: str, sent_hash: str) -> str | None:
    """Insert a new generation, due now; None when its request_key is taken."""
    hashes = {"request_hash": request_hash, "sent_hash": sent_hash}
    values = {**rows.generation_columns(new), "request_key": request_key or None, **hashes}
    statement = upsert(transaction, generation).values(
        due_ms=db_now(), create_ms=db_now(), update_ms=db_now(), ready_ms=db_now(), **values
    )
    fresh = statement.on_conflict_do_nothing(index_elements=["request_key"])
    inserted: str | None = transaction.scalar(fresh.returning(generation.c.id))
    return inserted


def _move(transaction: Transaction, held: Generation, state: State, wanted: Change, **columns: Any) -> Generation:
    """Apply a fenced change of state. Raises FenceLost, and ValueError for a move that the model does not know."""
    if state not in MOVES[held.state]:
        raise ValueError(f"{held.state} may not become {state}")
    return _change(transaction, held, state, wanted, **columns)


def _change(transaction: Transaction, held: Generation, state: State, wanted: Change, **columns: Any) -> Generation:
    """Apply a fenced change; the generation as it is now. Raises FenceLost."""
    values = {
        "state": state,
        "tries": wanted.tries,
        "due_ms": db_now() + int(wanted.due_in * 1000),
        "update_ms": db_now(),
        **(rows.failure_columns(wanted.failure) or _cleared(held, state)),
        **columns,
    }
    if wanted.progress is not None:
        values["progress"] = wanted.progress
    if state not in KEEPS_LEASE:
        values["lease_until_ms"] = 0
    if state is not held.state and (milestone := MILESTONES.get(state)):
        values[milestone] = db_now()
    row = _fenced(transaction, held, values)
    _put_outputs(transaction, held.id, wanted.outputs)
    return with_outputs(transaction, [row])[0]


def _fenced(transaction: Transaction, held: Generation, values: rows.Columns) -> Row[Any]:
    """Change the row if it is still as it was read; the row as it is now. Raises FenceLost."""
    unchanged = and_(generation.c.id == held.id, generation.c.state == held.state, generation.c.fence == held.fence)
    changed = update(generation).where(unchanged).values(values).returning(generation)
    row: Row[Any] | None = transaction.execute(changed).first()
    if row is None:
        raise FenceLost(held.id)
    return row


def _cleared(held: Generation, state: State) -> rows.Columns:
    """Columns that clear the end of an UNKNOWN that moves on: it has not ended, and has no failure."""
    moves_on = held.state is State.UNKNOWN and state is not held.state
    return {**rows.failure_columns(NO_FAILURE), "complete_ms": 0} if moves_on else {}


def _restart(transaction: Transaction, held: Generation) -> Generation:
    """READY anew, without the outputs of the attempts before. Raises FenceLost."""
    blank: dict[str, Any] = dict.fromkeys(("attempt_id", "task_id", "reason", "message"), "")
    zero = ("progress", "provider_code", "submit_ms", "store_ms", "complete_ms", "lease_until_ms", "tries")
    values = {**blank, **dict.fromkeys(zero, 0), "state": State.READY, "fence": held.fence + 1}
    times = dict.fromkeys(("ready_ms", "due_ms", "update_ms"), db_now())
    row = _fenced(transaction, held, {**values, **times})
    _unpark(transaction, held.id)
    transaction.execute(delete(output).where(output.c.generation_id == held.id))
    return rows.generation_of(row, ())


def _deliver(
    transaction: Transaction, held: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
) -> Generation:
    """STORING with the results of a task that was no longer awaited. Raises FenceLost."""
    values = {**rows.failure_columns(NO_FAILURE), "attempt_id": attempt_id, "task_id": task_id, "progress": 100}
    zero = dict.fromkeys(("tries", "lease_until_ms", "complete_ms"), 0)
    times = dict.fromkeys(("store_ms", "due_ms", "update_ms"), db_now())
    row = _fenced(transaction, held, {**values, **zero, **times, "state": State.STORING, "fence": held.fence + 1})
    _unpark(transaction, held.id)
    transaction.execute(delete(output).where(output.c.generation_id == held.id))
    _put_outputs(transaction, held.id, outputs)
    return rows.generation_of(row, outputs)


def disown(
    transaction: Transaction, held: Generation, attempt_id: str, task_id: str, due_in: float
) -> Generation | None:
    """Take a task from a generation that awaits it by mistake: its answer is lost. None when it awaits another.

    One that has ended stays as it is, but for the task.
    """
    if (held.attempt_id, held.task_id) != (attempt_id, task_id):
        return None
    if held.state not in AWAITING:
        row = _fenced(transaction, held, {"task_id": "", "fence": held.fence + 1, "update_ms": db_now()})
        return with_outputs(transaction, [row])[0]
    transaction.execute(delete(output).where(output.c.generation_id == held.id))
    _unpark(transaction, held.id)
    blank = {"task_id": "", "fence": held.fence + 1, **dict.fromkeys(("progress", "submit_ms", "store_ms"), 0)}
    return _change(transaction, held, State.AMBIGUOUS, Change(due_in=due_in), **blank)


def _unpark(transaction: Transaction, generation_id: str) -> None:
    """Forget the failures of earlier work: a new chain of attempts begins."""
    transaction.execute(delete(work_fault).where(work_fault.c.work_id == generation_id))


def _accept(transaction: Transaction, attempt_id: str, task_id: str, due_in: float) -> bool:
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
    moved = transaction.execute(statement.where(unsure).values(**learnt, **running))
    return bool(moved.rowcount or transaction.execute(statement.values(learnt)).rowcount)


def _put_outputs(transaction: Transaction, generation_id: str, outputs: Sequence[Output]) -> None:
    """Insert new outputs, each with the name of its file, and update known ones, whose files keep their names."""
    for changed in outputs:
        values = rows.output_columns(generation_id, changed)
        # A stored picture that comes without a name is a restored one of an older version: its key says all.
        stem = values.pop("file_stem") or ("" if changed.key else secrets.token_hex(FILE_STEM_BYTES))
        statement = upsert(transaction, output).values(**values, file_stem=stem)
        transaction.execute(statement.on_conflict_do_update(index_elements=["generation_id", "idx"], set_=values))


def _restore(transaction: Transaction, old: Generation) -> bool:
    """Insert a generation as it was elsewhere, with its times; False when its id is taken."""
    times = {name: getattr(old, name) for name in ("create_ms", "update_ms", "complete_ms")}
    marks = {"due_ms": old.update_ms, "ready_ms": old.create_ms, "task_id": old.task_id, "progress": old.progress}
    values = {**rows.generation_columns(old), **rows.failure_columns(old.failure), **times, **marks, "request_hash": ""}
    fresh = upsert(transaction, generation).values(values).on_conflict_do_nothing(index_elements=["id"])
    inserted = transaction.scalar(fresh.returning(generation.c.id))
    if inserted:
        _put_outputs(transaction, old.id, old.outputs)
    return bool(inserted)


def _forget(transaction: Transaction, generation_id: str) -> bool:
    """Empty prompt and input pictures of an ended generation; False otherwise. The new fence stops a retry."""
    chosen = generation.c.id == generation_id
    given = transaction.scalar(select(generation.c.draft).where(chosen, generation.c.state.in_(FINAL)))
    if given is None:
        return False
    blank = orjson.dumps(asdict(replace(rows.draft_of(given), prompt="", image_uris=()))).decode()
    emptied = update(generation).where(chosen, generation.c.state.in_(FINAL))
    done = transaction.execute(emptied.values(draft=blank, fence=generation.c.fence + 1, update_ms=db_now()))
    return bool(done.rowcount)
