"""Statements on attempts: the account an order was sent to, its answer, and the task of the attempt."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.chassis.database import Transaction, db_now
from services.chassis.errors import AlreadyExists
from services.generation.model import REMINDER, Attempt, Generation
from services.generation.outcomes import Accepted, Ambiguous, Outcome
from services.generation.ports import Refusal
from services.generation.stores import rows
from services.generation.stores.tables import attempt, inbox

MAX_DETAIL_LENGTH = 512  # enough to explain; an upstream page is not kept whole
TASK_CONSTRAINT = ("attempt_task", "attempt.account, attempt.task_id")  # as PostgreSQL and SQLite name it


def add(transaction: Transaction, new: Attempt) -> None:
    """Insert an attempt that is about to be made."""
    values = {
        "id": new.id,
        "generation_id": new.generation_id,
        "account": new.account,
        "key_print": new.key_print,
        "token_digest": new.token_digest,
    }
    transaction.execute(insert(attempt).values(create_ms=db_now(), **values))


def find(transaction: Transaction, attempt_id: str, *, locked: bool = False) -> Attempt | None:
    """One attempt by its id; locked, no other transaction changes it until this one ends."""
    query = select(attempt).where(attempt.c.id == attempt_id)
    row = transaction.execute(query.with_for_update() if locked else query).first()
    return rows.attempt_of(row) if row else None


def of_task(transaction: Transaction, task_id: str, account: str = "") -> Attempt | None:
    """The attempt that was answered with a task id, of one account or of whichever."""
    query = select(attempt).where(attempt.c.task_id == task_id)
    query = query.where(attempt.c.account == account) if account else query
    row = transaction.execute(query.order_by(attempt.c.create_ms).limit(1)).first()
    return rows.attempt_of(row) if row else None


def of_generation(transaction: Transaction, generation_id: str) -> Sequence[Attempt]:
    """Every attempt of a generation, oldest first."""
    query = select(attempt).where(attempt.c.generation_id == generation_id).order_by(attempt.c.create_ms, attempt.c.id)
    return [rows.attempt_of(row) for row in transaction.execute(query)]


def refusal(transaction: Transaction, held: Generation, codes: Collection[int]) -> Refusal | None:
    """Since when the attempts of an order have been refused with some codes, and what was said last."""
    refused = and_(attempt.c.generation_id == held.id, attempt.c.create_ms >= held.ready_ms, attempt.c.code.in_(codes))
    query = select(attempt, db_now().label("now")).where(refused).order_by(attempt.c.create_ms, attempt.c.id)
    found = transaction.execute(query).all()
    return Refusal((found[0].now - found[0].create_ms) / 1000, found[-1].code, found[-1].detail) if found else None


def accept(transaction: Transaction, attempt_id: str, task_id: str, *, instead: bool = False) -> None:
    """Note the task id, unless one is noted already; `instead` of one that no callback with the token has named.

    Raises:
        AlreadyExists: another attempt of the account has it, or only that one's token came with it.
        IntegrityError: another transaction noted it with another attempt at this moment; see `one_owner`.
    """
    mine = find(transaction, attempt_id, locked=True)
    if mine and _is_anothers(transaction, mine, task_id):
        raise taken()
    free: ColumnElement[bool] = attempt.c.task_id.is_(None)
    if instead and mine and mine.task_id and not is_named_by_callback(transaction, attempt_id, mine.task_id):
        free = attempt.c.task_id == mine.task_id
    # The create counts against its account's bucket for a window from here, not only from its outcome's note.
    values = {"task_id": task_id, "answer_ms": func.coalesce(func.nullif(attempt.c.answer_ms, 0), db_now())}
    transaction.execute(update(attempt).where(attempt.c.id == attempt_id, free).values(values))


@contextmanager
def one_owner() -> Iterator[None]:
    """Wrap a transaction that records a task: of two at once, the one that the database refuses came second."""
    try:
        yield
    except IntegrityError as error:
        if not any(name in str(error.orig) for name in TASK_CONSTRAINT):
            raise
        raise taken() from error


def taken() -> AlreadyExists:
    """The error for the second attempt that is answered with a task."""
    return AlreadyExists("Another attempt of the account was answered with this task.", "TASK_TAKEN")


def _is_anothers(transaction: Transaction, mine: Attempt, task_id: str) -> bool:
    if owner := of_task(transaction, task_id, mine.account):
        return owner.id != mine.id
    siblings = select(attempt.c.id).where(attempt.c.account == mine.account, attempt.c.id != mine.id)
    named = select(exists(_named_by_callbacks(task_id).where(inbox.c.attempt_id.in_(siblings))))
    return bool(transaction.scalar(named)) and not is_named_by_callback(transaction, mine.id, task_id)


def _named_by_callbacks(task_id: str) -> Select[tuple[str]]:
    """Attempts whose token came with a task in a callback, and was not found to be wrong."""
    wrong = inbox.c.verdict.in_(("foreign", "quarantined"))
    return select(inbox.c.attempt_id).where(
        inbox.c.task_id == task_id, inbox.c.attempt_id != "", inbox.c.kind != REMINDER, ~wrong
    )


def is_named_by_callback(transaction: Transaction, attempt_id: str, task_id: str) -> bool:
    """True when a callback with the attempt's token named the task."""
    named = _named_by_callbacks(task_id).where(inbox.c.attempt_id == attempt_id)
    return bool(transaction.scalar(select(exists(named))))


def disown(transaction: Transaction, attempt_id: str, task_id: str) -> bool:
    """Take back a task that a reply named by mistake; False when the attempt does not have it any more."""
    values = {
        "task_id": None,
        "outcome": Ambiguous.__name__.upper(),
        "detail": f"answered with {task_id} of another order",
    }
    holding = update(attempt).where(attempt.c.id == attempt_id, attempt.c.task_id == task_id)
    return bool(transaction.execute(holding.values(values)).rowcount)


def note(transaction: Transaction, attempt_id: str, outcome: Outcome) -> None:
    """Record an outcome, for the timeline."""
    detail = "" if isinstance(outcome, Accepted) else getattr(outcome, "message", getattr(outcome, "detail", ""))
    values = {"outcome": type(outcome).__name__.upper(), "detail": detail[:MAX_DETAIL_LENGTH], "answer_ms": db_now()}
    values["code"] = getattr(outcome, "code", 0)
    transaction.execute(update(attempt).where(attempt.c.id == attempt_id).values(values))
