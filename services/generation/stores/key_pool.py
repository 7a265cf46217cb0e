"""The key pool on SQL, shared by all replicas: creates that count, which keys and accounts rest, and until when.

What is chosen is decided by key_pool/selection.py on one reading of the rows. The functions below the class are its
statements.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row, Table, and_, delete, exists, insert, or_, select, update

from services.chassis.database import Database, Transaction, db_now, upsert
from services.generation import metrics
from services.generation.key_pool import selection
from services.generation.key_pool.cooldowns import (
    FORGIVEN_SECONDS,
    NOT_BY_TIME,
    OUT_OF_CREDITS,
    UNACCEPTED,
    Scope,
    cooldown_of,
    rest_seconds,
    unpaid_seconds,
)
from services.generation.key_pool.pool import Key, KeyPool, PoolStatus, Wait
from services.generation.key_pool.selection import Look
from services.generation.model import State
from services.generation.stores import account_names
from services.generation.stores.tables import (
    attempt,
    create_mark,
    generation,
    model_rest,
    provider_account,
    provider_key,
    unpaid_model,
)

AWAKE = {"cause_code": 0, "rest_until_ms": 0}
IN_FLIGHT = and_(
    generation.c.id == attempt.c.generation_id,
    generation.c.attempt_id == attempt.c.id,
    generation.c.state.in_((State.DIALING, State.SENDING)),
)
MARKS = (
    select(create_mark.c.account, create_mark.c.at_ms, attempt.c.answer_ms, generation.c.id.label("in_flight"))
    .outerjoin(attempt, attempt.c.id == create_mark.c.attempt_id)
    .outerjoin(generation, IN_FLIGHT)
)
UNPAID = select(unpaid_model).order_by(unpaid_model.c.account, unpaid_model.c.model)
# The table that has the rows of a cooldown's scope, and the column that names one.
RESTING: dict[Scope, tuple[Table, str]] = {
    Scope.KEY: (provider_key, "print"),
    Scope.ACCOUNT: (provider_account, "name"),
    Scope.MODEL: (model_rest, "model"),
}

logger = structlog.get_logger()


class SqlKeyPool:
    """The key pool on SQLite or PostgreSQL. Key values stay in memory; each account may make `creates` in a window."""

    def __init__(self, keys: Sequence[Key], creates: int, window_ms: int = selection.WINDOW_MS) -> None:
        self._keys = {key.print: key for key in keys}
        self._creates = creates
        self._window_ms = window_ms
        self._tried_again: set[tuple[str, str]] = set()  # accounts and models whose rest together was over

    def register(self, transaction: Transaction) -> None:
        """Make the stored pool that of the settings: new keys are added, missing ones removed, rests go on."""
        _register(transaction, tuple(self._keys.values()))

    def acquire(self, transaction: Transaction, attempt_id: str, model: str) -> Key | Wait:
        look = _read_pool(transaction, self._keys, self._window_ms, model, locked=True)
        chosen = selection.choose(look, self._creates, model)
        if isinstance(chosen, Wait):
            return chosen
        if (pair := (self._keys[chosen].account, model)) in look.unpaid:
            transaction.after_commit(partial(self._tried_again.add, pair))
        _mark(transaction, attempt_id, self._keys[chosen].account, self._window_ms)
        return self._keys[chosen]

    def outlook(self, transaction: Transaction, model: str) -> Wait:
        chosen = selection.choose(self._look(transaction, model), self._creates, model)
        return chosen if isinstance(chosen, Wait) else Wait(0.0)

    def reader(self, transaction: Transaction, account: str, key_print: str) -> Key | None:
        known = self._keys.get(key_print)
        chosen = selection.reader(self._look(transaction), known.account if known else account)
        return self._keys[chosen] if chosen else None

    def refused(self, transaction: Transaction, key: Key, code: int, retry_after: float | None, model: str) -> None:
        scope = cooldown_of(code).scope
        about = {Scope.KEY: key.print, Scope.ACCOUNT: key.account, Scope.MODEL: model}
        unpaid = False
        if code in OUT_OF_CREDITS and model:
            unpaid = _rest_unpaid(transaction, key.account, model)
        suffices_for_others = code in OUT_OF_CREDITS and model and _holds_something(transaction, key.account)
        rests = not suffices_for_others and _rest(transaction, scope, about[scope], code, retry_after)
        if rests or unpaid:
            transaction.after_commit(partial(metrics.cooled, code))
            told = {"scope": scope.value, "about": about[scope], "code": code, "model": model * unpaid}
            transaction.after_commit(partial(logger.warning, "key_cooling", **told))

    def is_tried_again(self, key: Key, model: str) -> bool:
        return (key.account, model) in self._tried_again

    def accepted(self, transaction: Transaction, key: Key, model: str) -> None:
        _end_unpaid(transaction, key.account, model)
        transaction.after_commit(partial(self._tried_again.discard, (key.account, model)))

    def note_balance(self, transaction: Transaction, key: Key, credits_left: float) -> None:
        if _note_balance(transaction, key, credits_left):
            _wake(transaction)
            transaction.after_commit(partial(logger.info, "key_back", account=key.account, print=key.print))

    def any_due(self, transaction: Transaction, balance_seconds: float, dry_seconds: float) -> bool:
        look = self._look(transaction)
        return bool(selection.accounts_due(look, balance_seconds, dry_seconds) or selection.keys_due(look))

    def take_due(self, transaction: Transaction, balance_seconds: float, dry_seconds: float) -> Sequence[Key]:
        look = self._look(transaction)
        accounts, keys = selection.accounts_due(look, balance_seconds, dry_seconds), selection.keys_due(look)
        readers = [selection.reader(look, line.name) for line in accounts if _take_account(transaction, line)]
        probed = [line.print for line in keys if _take_key(transaction, line)]
        return [self._keys[key_print] for key_print in dict.fromkeys([*probed, *readers]) if key_print]

    def listing(self, transaction: Transaction) -> PoolStatus:
        names = {key.account for key in self._keys.values()}
        missing = account_names.waiting(transaction, names, self._keys)
        return selection.pool_of(self._look(transaction), missing)

    def enable(self, transaction: Transaction, key_print: str) -> None:
        _turn(transaction, key_print, disabled=False, strikes=0, **AWAKE)
        _wake(transaction)

    def disable(self, transaction: Transaction, key_print: str) -> None:
        _turn(transaction, key_print, disabled=True)

    def _look(self, transaction: Transaction, model: str = "") -> selection.Look:
        return _read_pool(transaction, self._keys, self._window_ms, model)


async def open_key_pool(
    database: Database, keys: Sequence[Key], creates: int, window_ms: int = selection.WINDOW_MS
) -> KeyPool:
    """Open the pool, made that of the settings."""
    store = SqlKeyPool(keys, creates, window_ms)
    await database.write(store.register)
    return KeyPool(database, store, keys)


def _register(transaction: Transaction, keys: Sequence[Key]) -> None:
    """Make the rows those of the settings; what is known of keys that stay is kept, whatever their accounts' names."""
    names, prints = sorted({key.account for key in keys}), [key.print for key in keys]
    account_names.rename(transaction, keys)
    before = set(transaction.scalars(select(provider_account.c.name)))
    for name in names:
        transaction.execute(upsert(transaction, provider_account).values(name=name).on_conflict_do_nothing())
    for position, key in enumerate(keys):
        columns = {"account": key.account, "position": position}
        statement = upsert(transaction, provider_key).values(print=key.print, **columns)
        transaction.execute(statement.on_conflict_do_update(index_elements=["print"], set_=columns))
    transaction.execute(delete(provider_key).where(provider_key.c.print.not_in(prints)))
    transaction.execute(delete(provider_account).where(provider_account.c.name.not_in(names)))
    transaction.execute(delete(unpaid_model).where(unpaid_model.c.account.not_in(names)))
    account_names.wake(transaction, set(names) - before)


def _read_pool(
    transaction: Transaction, prints: Collection[str], window_ms: int, model: str = "", *, locked: bool = False
) -> Look:
    """Read the pool, with the keys that this process has; locked, no other transaction may choose meanwhile.

    The lock waits: a row that is passed over would be a limit that is not kept.
    """
    lines = select(provider_account).order_by(provider_account.c.name)
    found = transaction.execute(lines.with_for_update() if locked else lines).all()
    openable = provider_key.c.print.in_(prints)
    keys = transaction.execute(select(provider_key).where(openable).order_by(provider_key.c.position)).all()
    resting = transaction.execute(select(model_rest).where(model_rest.c.model == model)).first()
    marks = transaction.execute(MARKS).all()
    unpaid = {(row.account, row.model): row.rest_until_ms for row in transaction.execute(UNPAID)}
    return Look(_clock(transaction), found, keys, marks, resting, window_ms, unpaid)


def _clock(transaction: Transaction) -> int:
    """Milliseconds since 1970, by the database."""
    return int(transaction.scalar(select(db_now())) or 0)


def _mark(transaction: Transaction, attempt_id: str, account: str, window_ms: int) -> None:
    """Count a create, and forget those that count no more."""
    counts = or_(attempt.c.answer_ms > db_now() - window_ms, exists().where(IN_FLIGHT))
    counted = exists().where(attempt.c.id == create_mark.c.attempt_id, counts)
    transaction.execute(delete(create_mark).where(create_mark.c.at_ms <= db_now() - window_ms, ~counted))
    transaction.execute(insert(create_mark).values(attempt_id=attempt_id, account=account, at_ms=db_now()))


def count_create(transaction: Transaction, attempt_id: str, account: str) -> None:
    """Count a create from its dialling, also when its mark was forgotten since its key was given."""
    marked = upsert(transaction, create_mark).values(attempt_id=attempt_id, account=account, at_ms=db_now())
    moved = marked.on_conflict_do_update(index_elements=["attempt_id"], set_={"at_ms": db_now()})
    transaction.execute(moved)


def _rest(transaction: Transaction, scope: Scope, who: str, code: int, retry_after: float | None) -> bool:
    """Rest a key, an account or a model; False when it rests longer, or for a cause that time does not end, already."""
    table, column = RESTING[scope]
    if scope is Scope.MODEL:
        transaction.execute(upsert(transaction, table).values(model=who).on_conflict_do_nothing())
    named = table.c[column] == who
    line = transaction.execute(select(table).where(named).with_for_update()).first()
    until = _clock(transaction) + int(rest_seconds(code, retry_after) * 1000)
    if line is None or not _outranks(code, until, line):
        return False
    transaction.execute(update(table).where(named).values(cause_code=code, rest_until_ms=until))
    return True


def _outranks(code: int, until: int, line: Row[Any]) -> bool:
    """True when a new rest replaces a row's: a probed one beats a timed one, and the longer time the shorter."""
    if line.cause_code in NOT_BY_TIME:
        return False
    return code in NOT_BY_TIME or until > line.rest_until_ms


def _holds_something(transaction: Transaction, account: str) -> bool:
    """True when the balance that an account was last known to have is more than nothing."""
    query = select(provider_account.c.credits).where(provider_account.c.name == account)
    return (transaction.scalar(query) or 0) > 0


def _rest_unpaid(transaction: Transaction, account: str, model: str) -> bool:
    """Rest an account and a model together, and have the balance read at once; False when they rest already."""
    transaction.execute(update(provider_account).where(provider_account.c.name == account).values(asked_ms=0))
    first = {"account": account, "model": model, "strikes": 0, "rest_until_ms": 0}
    transaction.execute(upsert(transaction, unpaid_model).values(first).on_conflict_do_nothing())
    pair = and_(unpaid_model.c.account == account, unpaid_model.c.model == model)
    line = transaction.execute(select(unpaid_model).where(pair).with_for_update()).one()
    now = _clock(transaction)
    if line.rest_until_ms > now:
        return False
    forgiven = now - line.rest_until_ms > FORGIVEN_SECONDS * 1000
    strikes = 1 if forgiven else line.strikes + 1
    until = now + int(unpaid_seconds(strikes) * 1000)
    transaction.execute(update(unpaid_model).where(pair).values(strikes=strikes, rest_until_ms=until))
    return True


def _end_unpaid(transaction: Transaction, account: str, model: str = "") -> bool:
    """Forget that a balance did not suffice for a model, or for any; True when it was so."""
    of_account = delete(unpaid_model).where(unpaid_model.c.account == account)
    ended = transaction.execute(of_account.where(unpaid_model.c.model == model) if model else of_account)
    return bool(ended.rowcount)


def _note_balance(transaction: Transaction, key: Key, credits_left: float) -> bool:
    """Store a balance and end the rests that it ends; True when it ended one."""
    account = update(provider_account).where(provider_account.c.name == key.account)
    grown = credits_left > 0 and _held_less(transaction, key.account, credits_left)
    paid = grown and _end_unpaid(transaction, key.account)
    if credits_left <= 0:
        unpaid = exists().where(unpaid_model.c.account == provider_account.c.name)
        dry = {
            "cause_code": min(OUT_OF_CREDITS),
            "rest_until_ms": db_now() + int(rest_seconds(min(OUT_OF_CREDITS)) * 1000),
        }
        transaction.execute(account.where(unpaid, provider_account.c.cause_code.not_in(NOT_BY_TIME)).values(dry))
    transaction.execute(account.values(credits=credits_left, credits_ms=db_now()))
    ran_dry = account.where(provider_account.c.cause_code.in_(OUT_OF_CREDITS))
    if credits_left > 0:
        refilled = transaction.execute(ran_dry.values(AWAKE)).rowcount
    else:
        refilled = 0
        until = db_now() + int(rest_seconds(min(OUT_OF_CREDITS)) * 1000)
        transaction.execute(ran_dry.values(rest_until_ms=until))
    refused = and_(provider_key.c.print == key.print, provider_key.c.cause_code.in_(UNACCEPTED))
    accepted = transaction.execute(update(provider_key).where(refused).values(strikes=0, **AWAKE)).rowcount
    return bool(refilled or accepted or paid)


def _held_less(transaction: Transaction, account: str, credits_left: float) -> bool:
    """True when an account's balance was read before, and was smaller."""
    known = select(provider_account.c.credits).where(
        provider_account.c.name == account, provider_account.c.credits_ms > 0
    )
    before = transaction.scalar(known)
    return before is not None and before < credits_left


def _take_account(transaction: Transaction, line: Row[Any]) -> bool:
    """Claim the read of an account's balance; False when another replica was faster."""
    unasked = and_(provider_account.c.name == line.name, provider_account.c.asked_ms == line.asked_ms)
    taken = transaction.execute(update(provider_account).where(unasked).values(asked_ms=db_now()))
    return taken.rowcount == 1


def _take_key(transaction: Transaction, line: Row[Any]) -> bool:
    """Claim the probe of a key, its next probe later by one more strike; False when another replica was faster."""
    unprobed = and_(provider_key.c.print == line.print, provider_key.c.rest_until_ms == line.rest_until_ms)
    seconds = rest_seconds(line.cause_code, strikes=line.strikes + 1)
    later = {"strikes": line.strikes + 1, "rest_until_ms": db_now() + int(seconds * 1000)}
    return transaction.execute(update(provider_key).where(unprobed).values(later)).rowcount == 1


def _turn(transaction: Transaction, key_print: str, **values: Any) -> None:
    """Change a key's row for an operator."""
    transaction.execute(update(provider_key).where(provider_key.c.print == key_print).values(**values))


def _wake(transaction: Transaction) -> None:
    """Make every order that waits for a key due now. A worker that is postponing one at this moment loses it.

    Rows are locked in one order, so that two transactions that wake do not deadlock.
    """
    waits = or_(generation.c.due_ms > db_now(), generation.c.lease_until_ms > db_now())
    waiting = select(generation.c.id).where(generation.c.state == State.READY, waits)
    ids = list(transaction.scalars(waiting.order_by(generation.c.id).with_for_update()))
    afresh = {"due_ms": db_now(), "lease_until_ms": 0, "fence": generation.c.fence + 1}
    transaction.execute(update(generation).where(generation.c.id.in_(ids)).values(afresh))
    transaction.notify(State.READY)
