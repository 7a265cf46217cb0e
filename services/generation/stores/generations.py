"""The generation store on SQL: takes orders, leases work, moves generations, and records what providers answer.

A change of a generation is fenced: it applies to the row only while state and fence are as the caller read them. The
change, its outbox event, and what it means for attempts and for the inbox are committed together. The functions below
the class are statements on the tables of generations and their outputs.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
from sqlalchemy import Row, and_, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import failpoints
from services.chassis.database import Database, db_now, shielded, upsert
from services.chassis.errors import Aborted
from services.chassis.notifier import Notifier
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


@shielded
class SqlGenerationStore(SqlGenerationQueries):
    """The generation store on SQLite or PostgreSQL. Each method is one transaction; its commit wakes subscriptions."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        super().__init__(database)
        self._notifier = notifier

    async def insert(
        self,
        generation: Generation,
        request_key: str,
        request_hash: str,
        charges: Sequence[Charge] = (),
        *,
        sent_hash: str = "",
    ) -> Placed:
        async with self._database.write() as connection:
            if await _add(connection, generation, request_key, request_hash, sent_hash) is None:
                first = await of_request(connection, request_key, Sent(sent_hash or request_hash))
                if first is None:
                    raise Aborted("The same order is being made elsewhere at this moment. Try again.")
                return Placed(first, joined=True)
            quota = await quotas.count(connection, charges)
            stored = await find(connection, generation.id)
            await outbox.append(connection, stored)
            await failpoints.reach("accept.before_commit")
        await failpoints.reach("accept.after_commit")
        metrics.created(stored)
        return Placed(self._notified(stored, stored), quota=quota)

    async def claim(self, states: Collection[State], limit: int, lease_seconds: float) -> Sequence[Generation]:
        """As in the port. It reads before it writes, so that an idle stack writes nothing."""
        if limit < 1 or not await self._any_due(states):
            return []
        async with self._database.write() as connection:
            taken = await leases.claim(connection, states, limit, lease_seconds)
        await failpoints.reach("claim.after")
        return taken

    async def renew(self, generation: Generation, lease_seconds: float) -> None:
        async with self._database.write() as connection:
            await leases.renew(connection, generation, lease_seconds)
        await failpoints.reach("lease.renewed")

    async def hold(self, generation: Generation, lease_seconds: float) -> Generation:
        async with self._database.write() as connection:
            return await leases.hold(connection, generation, lease_seconds)

    async def dial(self, generation: Generation, attempt: Attempt) -> Generation:
        async with self._database.write() as connection:
            await attempts.add(connection, attempt)
            await key_pool.count_create(connection, attempt.id, attempt.account)
            change = Change(tries=generation.tries)
            dialing = await _move(connection, generation, State.DIALING, change, attempt_id=attempt.id, task_id="")
            await outbox.append(connection, dialing)
        return self._notified(generation, dialing)

    async def move(self, generation: Generation, state: State, change: Change = NOTHING) -> Generation:
        async with self._database.write() as connection:
            moved = await _move(connection, generation, state, change)
            if state is State.FAILED and moved.task_id:
                await inbox.contradict(connection, moved.attempt_id, moved.task_id)
            await outbox.append(connection, moved)
        return self._notified(generation, moved)

    async def touch(self, generation: Generation, change: Change) -> Generation:
        async with self._database.write() as connection:
            touched = await _change(connection, generation, generation.state, change)
            if touched.visible != generation.visible:
                await outbox.append(connection, touched)
        return self._notified(generation, touched) if touched.visible != generation.visible else touched

    async def cancel(self, generation: Generation) -> Generation:
        async with self._database.write() as connection:
            raised = generation.fence + 1  # a worker that holds the lease loses it
            canceled = await _move(connection, generation, State.CANCELED, NOTHING, fence=raised)
            await _unpark(connection, generation.id)
            await outbox.append(connection, canceled)
        return self._notified(generation, canceled)

    async def restart(self, generation: Generation, charges: Sequence[Charge] = (), *, counted_ms: int = 0) -> Placed:
        async with self._database.write() as connection:
            ready = await _restart(connection, generation)
            quota = await quotas.count(connection, charges, counted_ms)
            if generation.task_id and generation.state is State.UNKNOWN:
                await inbox.remind(connection, generation.attempt_id, generation.task_id)
            await outbox.append(connection, ready)
        return Placed(self._notified(generation, ready), quota=quota)

    async def deliver(
        self, generation: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
    ) -> Generation:
        with attempts.one_owner():
            async with self._database.write() as connection:
                await attempts.accept(connection, attempt_id, task_id, instead=True)
                delivered = await _deliver(connection, generation, attempt_id, task_id, outputs)
                if generation.task_id and generation.task_id != task_id:
                    await inbox.remind(connection, generation.attempt_id, generation.task_id)
                await outbox.append(connection, delivered)
        return self._notified(generation, delivered)

    async def restore(self, generation: Generation) -> bool:
        async with self._database.write() as connection:
            return await _restore(connection, generation)

    async def complete(self, generation: Generation, outputs: Sequence[Output]) -> Generation:
        async with self._database.write() as connection:
            late = Change(outputs=tuple(outputs), progress=100)
            unfailed = rows.failure_columns(NO_FAILURE)
            mended = await _change(connection, generation, State.SUCCEEDED, late, **unfailed)
            await outbox.append(connection, mended)
        self._notifier.notify(mended.id, "outbox")  # not counted: how long it took says nothing about the provider
        return mended

    async def forget(self, generation_id: str) -> bool:
        async with self._database.write() as connection:
            return await _forget(connection, generation_id)

    async def prune_events(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` events older than `older_than` seconds; how many. Of two at once one may find none.

        It reads before it writes, so that an idle stack writes nothing.
        """
        async with self._database.read() as connection:
            through, count = await outbox.old_events(connection, older_than, limit)
        if count:
            async with self._database.write() as connection:
                await outbox.delete_through(connection, through)
        return count

    async def accept(self, attempt_id: str, task_id: str, due_in: float) -> Generation:
        with attempts.one_owner():
            async with self._database.write() as connection:
                before = await self._of_attempt(connection, attempt_id)
                await attempts.accept(connection, attempt_id, task_id)
                changed = await _accept(connection, attempt_id, task_id, due_in)
                now = await self._of_attempt(connection, attempt_id)
                if now.task_id != task_id:
                    await inbox.remind(connection, attempt_id, task_id)
                if changed:
                    await outbox.append(connection, now)
        self._notifier.notify("inbox")
        return self._notified(before, now)

    async def assign(self, attempt_id: str, task_id: str, due_in: float) -> bool:
        async with self._database.write() as connection:
            rightful = await attempts.find(connection, attempt_id)
            holder = await attempts.of_task(connection, task_id, rightful.account) if rightful else None
            if holder is None or holder.id == attempt_id:
                return True
            if await attempts.is_named_by_callback(connection, holder.id, task_id):
                return False
            if not await attempts.disown(connection, holder.id, task_id):
                return True
            before = await self._of_attempt(connection, holder.id, locked=True)
            now = await disown(connection, before, holder.id, task_id, due_in)
            await inbox.reopen(connection, holder.id)
            if now:
                await outbox.append(connection, now)
        self._notifier.notify("inbox")
        if now:
            self._notified(before, now)
        return True

    async def decline(self, attempt_id: str, outcome: Outcome, state: State, change: Change) -> bool:
        async with self._database.write() as connection:
            await attempts.note(connection, attempt_id, outcome)
            before = await self._of_attempt(connection, attempt_id, locked=True)
            waits = before.state in DECLINABLE and before.attempt_id == attempt_id and not before.task_id
            now = before
            if waits:
                raised = before.fence + 1  # a recovery at this moment loses it
                now = await _change(connection, before, state, change, fence=raised)
                await outbox.append(connection, now)
        metrics.attempted(outcome)
        if waits:
            self._notified(before, now)
        return waits

    async def note_outcome(self, attempt_id: str, outcome: Outcome) -> None:
        async with self._database.write() as connection:
            await attempts.note(connection, attempt_id, outcome)
        metrics.attempted(outcome)

    async def wake(self, generation_id: str) -> bool:
        async with self._database.write() as connection:
            woken = await leases.wake(connection, generation_id)
        self._notifier.notify(State.RUNNING)
        self._notifier.notify_later(State.RUNNING, leases.READ_GAP_MS / 1000)
        return woken

    async def _any_due(self, states: Collection[State]) -> bool:
        async with self._database.read() as connection:
            return bool(await connection.scalar(select(exists(leases.due(states, 1)))))

    async def _of_attempt(self, connection: AsyncConnection, attempt_id: str, *, locked: bool = False) -> Generation:
        column = attempt_table.c.generation_id
        owner = await connection.scalar(select(column).where(attempt_table.c.id == attempt_id))
        return await of_attempt(connection, str(owner), locked=locked)

    def _notified(self, before: Generation, after: Generation) -> Generation:
        metrics.moved(before, after)
        self._notifier.notify(after.id, after.state, "outbox")
        return after


async def _add(
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


async def _move(
    connection: AsyncConnection, held: Generation, state: State, wanted: Change, **columns: Any
) -> Generation:
    """Apply a fenced change of state. Raises FenceLost, and ValueError for a move that the model does not know."""
    if state not in MOVES[held.state]:
        raise ValueError(f"{held.state} may not become {state}")
    return await _change(connection, held, state, wanted, **columns)


async def _change(
    connection: AsyncConnection, held: Generation, state: State, wanted: Change, **columns: Any
) -> Generation:
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
    row = await _fenced(connection, held, values)
    await _put_outputs(connection, held.id, wanted.outputs)
    return (await with_outputs(connection, [row]))[0]


async def _fenced(connection: AsyncConnection, held: Generation, values: rows.Columns) -> Row[Any]:
    """Change the row if it is still as it was read; the row as it is now. Raises FenceLost."""
    unchanged = and_(generation.c.id == held.id, generation.c.state == held.state, generation.c.fence == held.fence)
    changed = update(generation).where(unchanged).values(values).returning(generation)
    row: Row[Any] | None = (await connection.execute(changed)).first()
    if row is None:
        raise FenceLost(held.id)
    return row


def _cleared(held: Generation, state: State) -> rows.Columns:
    """Columns that clear the end of an UNKNOWN that moves on: it has not ended, and has no failure."""
    moves_on = held.state is State.UNKNOWN and state is not held.state
    return {**rows.failure_columns(NO_FAILURE), "complete_ms": 0} if moves_on else {}


async def _restart(connection: AsyncConnection, held: Generation) -> Generation:
    """READY anew, without the outputs of the attempts before. Raises FenceLost."""
    blank: dict[str, Any] = dict.fromkeys(("attempt_id", "task_id", "reason", "message"), "")
    zero = ("progress", "provider_code", "submit_ms", "store_ms", "complete_ms", "lease_until_ms", "tries")
    values = {**blank, **dict.fromkeys(zero, 0), "state": State.READY, "fence": held.fence + 1}
    times = dict.fromkeys(("ready_ms", "due_ms", "update_ms"), db_now())
    row = await _fenced(connection, held, {**values, **times})
    await _unpark(connection, held.id)
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    return rows.generation_of(row, ())


async def _deliver(
    connection: AsyncConnection, held: Generation, attempt_id: str, task_id: str, outputs: Sequence[Output]
) -> Generation:
    """STORING with the results of a task that was no longer awaited. Raises FenceLost."""
    values = {**rows.failure_columns(NO_FAILURE), "attempt_id": attempt_id, "task_id": task_id, "progress": 100}
    zero = dict.fromkeys(("tries", "lease_until_ms", "complete_ms"), 0)
    times = dict.fromkeys(("store_ms", "due_ms", "update_ms"), db_now())
    row = await _fenced(connection, held, {**values, **zero, **times, "state": State.STORING, "fence": held.fence + 1})
    await _unpark(connection, held.id)
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    await _put_outputs(connection, held.id, outputs)
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
        row = await _fenced(connection, held, {"task_id": "", "fence": held.fence + 1, "update_ms": db_now()})
        return (await with_outputs(connection, [row]))[0]
    await connection.execute(delete(output).where(output.c.generation_id == held.id))
    await _unpark(connection, held.id)
    blank = {"task_id": "", "fence": held.fence + 1, **dict.fromkeys(("progress", "submit_ms", "store_ms"), 0)}
    return await _change(connection, held, State.AMBIGUOUS, Change(due_in=due_in), **blank)


async def _unpark(connection: AsyncConnection, generation_id: str) -> None:
    """Forget the failures of earlier work: a new chain of attempts begins."""
    await connection.execute(delete(work_fault).where(work_fault.c.work_id == generation_id))


async def _accept(connection: AsyncConnection, attempt_id: str, task_id: str, due_in: float) -> bool:
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


async def _put_outputs(connection: AsyncConnection, generation_id: str, outputs: Sequence[Output]) -> None:
    """Insert new outputs, each with the name of its file, and update known ones, whose files keep their names."""
    for changed in outputs:
        values = rows.output_columns(generation_id, changed)
        # A stored picture that comes without a name is a restored one of an older version: its key says all.
        stem = values.pop("file_stem") or ("" if changed.key else secrets.token_hex(FILE_STEM_BYTES))
        statement = upsert(connection, output).values(**values, file_stem=stem)
        await connection.execute(statement.on_conflict_do_update(index_elements=["generation_id", "idx"], set_=values))


async def _restore(connection: AsyncConnection, old: Generation) -> bool:
    """Insert a generation as it was elsewhere, with its times; False when its id is taken."""
    times = {name: getattr(old, name) for name in ("create_ms", "update_ms", "complete_ms")}
    marks = {"due_ms": old.update_ms, "ready_ms": old.create_ms, "task_id": old.task_id, "progress": old.progress}
    values = {**rows.generation_columns(old), **rows.failure_columns(old.failure), **times, **marks, "request_hash": ""}
    fresh = upsert(connection, generation).values(values).on_conflict_do_nothing(index_elements=["id"])
    inserted = await connection.scalar(fresh.returning(generation.c.id))
    if inserted:
        await _put_outputs(connection, old.id, old.outputs)
    return bool(inserted)


async def _forget(connection: AsyncConnection, generation_id: str) -> bool:
    """Empty prompt and input pictures of an ended generation; False otherwise. The new fence stops a retry."""
    chosen = generation.c.id == generation_id
    given = await connection.scalar(select(generation.c.draft).where(chosen, generation.c.state.in_(FINAL)))
    if given is None:
        return False
    blank = orjson.dumps(asdict(replace(rows.draft_of(given), prompt="", image_uris=()))).decode()
    emptied = update(generation).where(chosen, generation.c.state.in_(FINAL))
    done = await connection.execute(emptied.values(draft=blank, fence=generation.c.fence + 1, update_ms=db_now()))
    return bool(done.rowcount)
