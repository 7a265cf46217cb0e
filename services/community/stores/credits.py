"""Credits in SQL: balances, check-ins, and the ledger of every change.

A change of a balance is one conditional statement. Its ledger entry is written in the transaction of what it pays for,
and each cause is booked once.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, insert, select, update

from services.chassis.clock import Clock
from services.chassis.database import Transaction, upsert
from services.community.model import Balance, CheckIn, EntryKind, Hold, Order
from services.community.ports import CreditsShortError
from services.community.stores.tables import account, check_in, entry
from services.community.stores.users import UserRows

INITIAL = "initial"


class Ledger:
    """Accounts and their entries. A new account gets the initial credits, unless its user was erased before."""

    def __init__(self, initial: int, users: UserRows) -> None:
        self._initial, self._users = initial, users

    def open_account(self, transaction: Transaction, user_id: str, now_ms: int) -> None:
        """Make sure that the user and the account exist."""
        self._users.lock(transaction, user_id, now_ms)
        if transaction.scalar(select(account.c.user_id).where(account.c.user_id == user_id)):
            return
        initial = 0 if self._users.tombstone(transaction, user_id) else self._initial
        values = {"user_id": user_id, "credits": initial, "held": 0}
        made = transaction.execute(upsert(transaction, account).values(values).on_conflict_do_nothing())
        if made.rowcount and initial:
            self._write(transaction, user_id, (EntryKind.GRANT, INITIAL), initial, now_ms)

    def hold(self, transaction: Transaction, order: Order) -> Order:
        """Hold the cost of an order. Raises CreditsShortError."""
        if not order.cost:
            return order
        self.open_account(transaction, order.user_id, order.create_ms)
        if not self._move(transaction, order.user_id, -order.cost, order.cost):
            found = select(account.c.credits).where(account.c.user_id == order.user_id)
            raise CreditsShortError(transaction.scalar(found) or 0)
        self._write(transaction, order.user_id, (EntryKind.HOLD, order.id), -order.cost, order.create_ms)
        return replace(order, hold=Hold.HELD)

    def settle(self, transaction: Transaction, order: Order, *, paid: bool, now_ms: int) -> Order:
        """Capture or release an order's hold, once. A late success charges released credits again, if possible."""
        match order.hold, paid:
            case Hold.HELD, True:
                self._move(transaction, order.user_id, 0, -order.cost)
                return self._settled(transaction, order, EntryKind.CAPTURE, 0, now_ms)
            case Hold.HELD, False:
                self._move(transaction, order.user_id, order.cost, -order.cost)
                return self._settled(transaction, order, EntryKind.RELEASE, order.cost, now_ms)
            case Hold.RELEASED, True if self._move(transaction, order.user_id, -order.cost, 0):
                return self._settled(transaction, order, EntryKind.CAPTURE, -order.cost, now_ms)
            case _:
                return order

    def earn(self, transaction: Transaction, user_id: str, cause: str, amount: int, now_ms: int) -> None:
        """Book the credits of a check-in."""
        self._move(transaction, user_id, amount, 0)
        self._write(transaction, user_id, (EntryKind.CHECKIN, cause), amount, now_ms)

    def _settled(self, transaction: Transaction, order: Order, kind: EntryKind, amount: int, now_ms: int) -> Order:
        self._write(transaction, order.user_id, (kind, order.id), amount, now_ms)
        return replace(order, hold=Hold.CAPTURED if kind is EntryKind.CAPTURE else Hold.RELEASED)

    def _move(self, transaction: Transaction, user_id: str, credits_: int, held: int) -> bool:
        """Change a balance, unless the account has too few credits or is gone; one statement, so that no two race."""
        values = {"credits": account.c.credits + credits_, "held": account.c.held + held}
        able = account.c.credits >= -credits_
        moved = transaction.execute(update(account).where(account.c.user_id == user_id, able).values(values))
        return moved.rowcount > 0

    def _write(
        self, transaction: Transaction, user_id: str, cause: tuple[EntryKind, str], amount: int, now_ms: int
    ) -> None:
        kind, name = cause
        line = {"user_id": user_id, "kind": kind, "cause": name, "amount": amount, "create_ms": now_ms}
        transaction.execute(insert(entry).values(line))


class SqlCredits:
    """A CreditStore."""

    def __init__(self, users: UserRows, ledger: Ledger, clock: Clock) -> None:
        self._users, self._ledger, self._clock = users, ledger, clock

    def balance(self, transaction: Transaction, user_id: str) -> Balance | None:
        """Select the account."""
        query = select(account.c.credits, account.c.held).where(account.c.user_id == user_id)
        row = transaction.execute(query).one_or_none()
        return Balance(row.credits, row.held) if row else None

    def open_account(self, transaction: Transaction, user_id: str) -> Balance:
        """Insert the account, and select it."""
        self._ledger.open_account(transaction, user_id, self._clock())
        return self.balance(transaction, user_id) or Balance()

    def check_in(self, transaction: Transaction, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Insert the day's row; only its insertion earns credits, unless that day had earned some before an erasure."""
        self._ledger.open_account(transaction, user_id, self._clock())
        last = transaction.execute(_last(user_id, day)).one_or_none()
        streak = last.streak + 1 if last and last.day == day - 1 else 1
        now = CheckIn(day, streak, last.total + 1 if last else 1)
        values = {"user_id": user_id, "day": day, "streak": now.streak, "total": now.total}
        statement = upsert(transaction, check_in).values(values).on_conflict_do_nothing()
        first = transaction.execute(statement).rowcount == 1
        tombstone = self._users.tombstone(transaction, user_id)
        if first and tombstone and tombstone.check_in_day >= day:
            return now, False
        if first:
            self._ledger.earn(transaction, user_id, str(day), credits_, self._clock())
            return now, True
        return self.last_check_in(transaction, user_id), False

    def last_check_in(self, transaction: Transaction, user_id: str) -> CheckIn:
        """Read the newest row."""
        row = transaction.execute(_last(user_id, 2**31 - 1)).one_or_none()
        return CheckIn(row.day, row.streak, row.total) if row else CheckIn()


def _last(user_id: str, before: int) -> Select[Any]:
    """The newest check-in before a day."""
    mine = (check_in.c.user_id == user_id, check_in.c.day < before)
    return select(check_in).where(*mine).order_by(check_in.c.day.desc()).limit(1)
