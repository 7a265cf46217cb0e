"""The callback inbox on SQL: callbacks and our own reminders, each stored once and taken by one reader at a time.

A callback is open while its verdict is empty. A repetition of an open one is counted in `news`, so that the reader
that took the callback before cannot close it. The generation store uses the functions below the class.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update

from services.chassis import failpoints
from services.chassis.database import Transaction, db_now, upsert
from services.chassis.names import new_id
from services.chassis.parking import faults_of, not_parked
from services.generation import metrics
from services.generation.model import INBOX, REMINDER, Attempt, Callback
from services.generation.stores import rows
from services.generation.stores.tables import inbox, work_fault

TAKEN_SECONDS = 10.0  # the lease of a taken callback; reading a record twice is harmless
# A callback that is repeated all the time has its record read once a second (docs/provider.md#limits: three).
REPEAT_GAP_MS = 1_000
CONTRADICTED_MS = 5_000  # before the record is read again, when it shows a failure and a callback announced success
SUCCESS = 200  # the code of a callback that announces a result
# Verdicts after which a repetition changes nothing: the generation was woken, or has the result.
SETTLED = ("done", "delivered", "extra", "recorded")
FAULTS = faults_of(work_fault, INBOX, inbox.c.id)
MAX_BARE = 10_000  # closed callbacks without a token; each is a row of under a kilobyte


class SqlInbox:
    """The callback inbox on SQLite or PostgreSQL."""

    def add(self, transaction: Transaction, callback: Callback) -> bool:
        new = _add(transaction, callback)
        failpoints.reach_in_thread("inbox.before_commit")
        if not new:
            transaction.after_commit(partial(metrics.called_back, "duplicate"))
        transaction.notify("inbox")
        return new

    def open_without_token(self, transaction: Transaction) -> int:
        return _open_of(transaction, "")

    def open_with_token_of(self, transaction: Transaction, attempt_id: str) -> int:
        return _open_of(transaction, attempt_id)

    def take(self, transaction: Transaction, limit: int) -> Sequence[Callback]:
        due = select(inbox.c.id).where(
            inbox.c.verdict == "", inbox.c.due_ms <= db_now(), not_parked(work_fault, INBOX, inbox.c.id)
        )
        chosen = due.order_by(inbox.c.due_ms).limit(limit).with_for_update(skip_locked=True)
        values = {"due_ms": db_now() + int(TAKEN_SECONDS * 1000), "tries": inbox.c.tries + 1}
        age = (db_now() - inbox.c.create_ms).label("age_ms")
        statement = update(inbox).where(inbox.c.id.in_(chosen)).values(values).returning(inbox, age, FAULTS)
        taken = transaction.execute(statement).all()
        return [
            replace(rows.callback_of(row), age_seconds=max(row.age_ms, 0) / 1000, faults=row.faults) for row in taken
        ]

    def finish(self, transaction: Transaction, callback: Callback, verdict: str) -> None:
        repeated = and_(inbox.c.id == callback.id, inbox.c.verdict == "")
        closed = transaction.execute(update(inbox).where(_unchanged(callback)).values(verdict=verdict))
        if closed.rowcount:
            transaction.after_commit(partial(metrics.called_back, verdict))
        else:
            transaction.execute(update(inbox).where(repeated).values(due_ms=db_now()))

    def renew(self, transaction: Transaction, callback: Callback) -> None:
        self.postpone(transaction, callback, TAKEN_SECONDS)

    def postpone(self, transaction: Transaction, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        values = {
            "due_ms": db_now() + int(due_in * 1000),
            "tries": callback.tries if counted else callback.tries - 1,
        }
        transaction.execute(update(inbox).where(_unchanged(callback)).values(values))

    def old(self, transaction: Transaction, older_than: float, limit: int) -> Sequence[str]:
        closed = select(inbox.c.id).where(inbox.c.verdict != "", inbox.c.create_ms < db_now() - int(older_than * 1000))
        bare = select(inbox.c.id).where(inbox.c.verdict != "", inbox.c.attempt_id == "")
        beyond = bare.order_by(inbox.c.create_ms.desc()).offset(MAX_BARE).limit(limit)
        found = transaction.scalars(closed.order_by(inbox.c.create_ms).limit(limit)).all()
        return found or transaction.scalars(beyond).all()

    def delete_closed(self, transaction: Transaction, ids: Sequence[str]) -> None:
        transaction.execute(delete(inbox).where(inbox.c.id.in_(ids), inbox.c.verdict != ""))


def _open_of(transaction: Transaction, attempt_id: str) -> int:
    """How many callbacks with an attempt's token, or with an empty id those without a token, are open."""
    counted = select(func.count()).where(inbox.c.verdict == "", inbox.c.attempt_id == attempt_id)
    return int(transaction.scalar(counted) or 0)


def _add(transaction: Transaction, new: Callback) -> bool:
    """Store a callback; False when it is stored already, which opens it again unless its verdict is settled."""
    values = {"id": new.id, "kind": new.kind, "attempt_id": new.attempt_id, "task_id": new.task_id, "code": new.code}
    statement = upsert(transaction, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    statement = statement.on_conflict_do_nothing(index_elements=["attempt_id", "task_id", "code"])
    if transaction.execute(statement.returning(inbox.c.id)).first() is not None:
        return True
    same = _named(new.attempt_id, new.task_id, inbox.c.code == new.code, inbox.c.verdict.not_in(SETTLED))
    _repeat(transaction, same)
    return False


def remind(transaction: Transaction, attempt_id: str, task_id: str) -> None:
    """Store a reminder of a task for which its generation does not wait; if one is open, it is repeated instead."""
    if _repeat(transaction, _named(attempt_id, task_id, inbox.c.verdict == "")):
        return
    values = {"id": new_id("cb"), "kind": REMINDER, "attempt_id": attempt_id, "task_id": task_id, "code": 0}
    statement = upsert(transaction, inbox).values(due_ms=db_now(), create_ms=db_now(), **values)
    again = {"verdict": "", "tries": 0, "due_ms": db_now(), "create_ms": db_now(), "news": inbox.c.news + 1}
    transaction.execute(statement.on_conflict_do_update(index_elements=["attempt_id", "task_id", "code"], set_=again))


def contradict(transaction: Transaction, attempt_id: str, task_id: str) -> None:
    """Open again the callback that announced success of a task whose record shows a failure: either may be wrong."""
    tokened = _named(attempt_id, task_id, inbox.c.code == SUCCESS, inbox.c.verdict == "done")
    bare = _named("", task_id, inbox.c.code == SUCCESS, inbox.c.verdict == "done")
    opened = {"verdict": "", "tries": 0, "news": inbox.c.news + 1, "due_ms": db_now() + CONTRADICTED_MS}
    transaction.execute(update(inbox).where(or_(tokened, bare)).values(opened))


def reopen(transaction: Transaction, attempt_id: str) -> None:
    """Open again the callbacks with an attempt's token that came while it awaited another task."""
    chosen = and_(inbox.c.attempt_id == attempt_id, inbox.c.verdict.in_(("", "failed", "unknown")))
    _repeat(transaction, chosen)


def _named(attempt_id: str, task_id: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(inbox.c.attempt_id == attempt_id, inbox.c.task_id == task_id, *more)


def _repeat(transaction: Transaction, chosen: ColumnElement[bool]) -> bool:
    """Count a repetition on rows, so that their readers cannot close them, and make them due; False without any.

    A closed row begins anew, an open row keeps its age and its tries. A parked row is released if it names an attempt:
    anybody may repeat a callback without a token.
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
    repeated = bool(transaction.execute(update(inbox).where(chosen).values(values)).rowcount)
    named = select(inbox.c.id).where(chosen, inbox.c.attempt_id != "")
    parked = and_(work_fault.c.loop == INBOX, work_fault.c.park_ms > 0, work_fault.c.work_id.in_(named))
    transaction.execute(delete(work_fault).where(parked))
    return repeated


def _unchanged(callback: Callback) -> ColumnElement[bool]:
    return and_(inbox.c.id == callback.id, inbox.c.verdict == "", inbox.c.news == callback.news)


def of_attempts(transaction: Transaction, chain: Sequence[Attempt]) -> Sequence[Callback]:
    """Every callback that named one of the attempts or its task, oldest first."""
    tasks = [attempt.task_id for attempt in chain if attempt.task_id]
    named = or_(inbox.c.attempt_id.in_([attempt.id for attempt in chain]), inbox.c.task_id.in_(tasks))
    return [
        rows.callback_of(row) for row in transaction.execute(select(inbox).where(named).order_by(inbox.c.create_ms))
    ]
