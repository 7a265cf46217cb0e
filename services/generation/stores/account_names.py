"""Account names in stored rows: renamed at each start to those of the settings, and the tasks of missing accounts.

A row names its account by the settings of its day. An attempt also keeps the print of its key, and a key belongs to one
account at the provider, so that whatever the account is called now, the attempts of a configured key are its. Before
keys were named by their digest, an account without a name in KIE_ACCOUNTS was called account-N by its key's position,
which another key may have today; such rows take the name of their key's digest. Each statement may be repeated.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Row, and_, func, literal, or_, select, text, update

from services.chassis.database import Transaction, db_now, upsert
from services.generation.key_pool.pool import Key, account_of
from services.generation.model import State
from services.generation.stores.tables import (
    attempt,
    create_mark,
    generation,
    inbox,
    provider_account,
    provider_key,
)
from services.generation.timing import RECONCILE_SECONDS

# Two replicas that start together rename one after the other; no other code locks this number.
RENAME_LOCK = text("SELECT pg_advisory_xact_lock(7316578)")
POSITIONAL = tuple(f"account-{position}" for position in range(1, 6))  # the names of five keys without KIE_ACCOUNTS
AWAITED = (State.RUNNING, State.STORING, State.UNKNOWN)  # states that go on by asking the account


def rename(transaction: Transaction, keys: Sequence[Key]) -> None:
    """Give attempts, creates that count, rests and balances the names that the settings give their keys now."""
    if transaction.dialect == "postgresql":
        transaction.execute(RENAME_LOCK)
    configured = {key.print: key.account for key in keys}
    stored = transaction.execute(select(provider_key)).all()
    positional = set(POSITIONAL) - set(configured.values())
    for line in stored:
        new = configured.get(line.print) or (account_of(line.print) if line.account in positional else line.account)
        if new != line.account:
            _copy_account(transaction, line.account, new)
    for old in _outdated(stored, configured) | positional:
        _rename_attempts(transaction, old, configured, positional=old in positional)
    _rename_marks(transaction)


def _outdated(stored: Sequence[Row[tuple[object, ...]]], configured: Mapping[str, str]) -> set[str]:
    """Names under which attempts of a configured key may be stored although it has another today."""
    moved = {line.account for line in stored if configured.get(line.print, line.account) != line.account}
    by_digest = {account_of(key_print) for key_print in configured}
    return (moved | by_digest) - {account_of(p) for p, name in configured.items() if name == account_of(p)}


def _rename_attempts(transaction: Transaction, old: str, configured: Mapping[str, str], *, positional: bool) -> None:
    """Rename attempts by the index of (account, task_id), so that it costs nothing where there is nothing to rename."""
    named_so = update(attempt).where(attempt.c.account == old)
    for key_print, new in configured.items():
        if new != old:
            transaction.execute(named_so.where(attempt.c.key_print == key_print).values(account=new))
    if positional:
        transaction.execute(named_so.values(account=literal(account_of("")) + attempt.c.key_print))


def _rename_marks(transaction: Transaction) -> None:
    """Count each create for the account of its attempt."""
    owner = select(attempt.c.account).where(attempt.c.id == create_mark.c.attempt_id).scalar_subquery()
    transaction.execute(update(create_mark).where(owner != create_mark.c.account).values(account=owner))


def _copy_account(transaction: Transaction, old: str, new: str) -> None:
    """Copy an account's row to its new name: its rest goes on, and its balance is still known."""
    line = transaction.execute(select(provider_account).where(provider_account.c.name == old)).first()
    if line is not None:
        fresh = upsert(transaction, provider_account).values({**line._asdict(), "name": new})
        transaction.execute(fresh.on_conflict_do_nothing())


def wake(transaction: Transaction, returned: Collection[str]) -> None:
    """Make tasks and callbacks of accounts that are configured again due now; leases stay."""
    of_account = select(attempt.c.id).where(attempt.c.account.in_(returned))
    waiting = and_(generation.c.state.in_(AWAITED), generation.c.due_ms > db_now())
    tasks = and_(waiting, generation.c.task_id != "", generation.c.attempt_id.in_(of_account))
    transaction.execute(update(generation).where(tasks).values(due_ms=db_now()))
    callbacks = and_(inbox.c.verdict == "", inbox.c.due_ms > db_now(), inbox.c.attempt_id.in_(of_account))
    transaction.execute(update(inbox).where(callbacks).values(due_ms=db_now()))


def waiting(transaction: Transaction, names: Collection[str], prints: Collection[str]) -> dict[str, int]:
    """How many tasks wait for each account of which no key is configured, of those that the provider still keeps."""
    known = or_(attempt.c.account.in_(names), attempt.c.key_print.in_(prints))
    kept = generation.c.submit_ms > db_now() - int(RECONCILE_SECONDS * 1000)
    query = (
        select(attempt.c.account, func.count().label("tasks"))
        .join(generation, generation.c.attempt_id == attempt.c.id)
        .where(generation.c.state.in_(AWAITED), generation.c.task_id != "", kept, ~known)
        .group_by(attempt.c.account)
        .order_by(attempt.c.account)
    )
    return {row.account: row.tasks for row in transaction.execute(query)}
