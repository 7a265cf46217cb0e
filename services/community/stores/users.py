"""Users in SQL: their rows, which every transaction of a user locks first, and the tombstones of erased users.

The lock (FOR KEY SHARE) lets all of a user's transactions run at once, except for an erasure. Rows are locked in this
order everywhere: tombstone, person, order, artworks by id, account, owners of objects, deletion queue. So no two
deadlock.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from services.chassis.clock import Clock
from services.chassis.database import Transaction, upsert
from services.chassis.errors import Unauthenticated
from services.chassis.signing_keys import PurposeKeys
from services.community.model import Claims, DeletionState, Entry, EntryKind, Erasure, Report, User
from services.community.model.hotness import DAY_MS
from services.community.stores import user_erasure
from services.community.stores.rows import to_user
from services.community.stores.tables import (
    check_in,
    discarded_object,
    entry,
    erased_person,
    erasure,
    owned_object,
    person,
    report,
)

# How long tokens that do not say when they were issued are refused after an erasure: above the life of a session.
UNDATED_TOKENS_MS = 30 * DAY_MS
ERASED = "This account was erased. Sign in again to begin anew."
LOOKS = 3  # at a row that may be erased between two statements


@dataclass(frozen=True)
class Tombstone:
    """The time of an erasure, and the last day of a check-in before it; -1 for none."""

    check_in_day: int
    erase_ms: int

    def accepts(self, issue_ms: int, now_ms: int) -> bool:
        """Whether a token may open a new account: one issued later, or an undated one after UNDATED_TOKENS_MS."""
        return issue_ms > self.erase_ms if issue_ms else now_ms - self.erase_ms > UNDATED_TOKENS_MS


class UserRows:
    """Rows and tombstones of users; the digest in a tombstone is the HMAC of the user's id by the present key."""

    def __init__(self, keys: PurposeKeys) -> None:
        self._keys = keys

    def lock(self, transaction: Transaction, user_id: str, now_ms: int, issue_ms: int = 0) -> None:
        """Lock the user's row, which is inserted on first use.

        Raises:
            Unauthenticated: the user was erased, and the token was not issued later (reason ACCOUNT_ERASED).
        """
        row = select(person.c.id).where(person.c.id == user_id).with_for_update(read=True, key_share=True)
        for _ in range(LOOKS):
            if transaction.scalar(row) is not None:
                return
            self.admit(transaction, user_id, now_ms, issue_ms)
            blank = {"display_name": "", "email": "", "picture_uri": "", "hide_name": False, "hide_email": True}
            values = {"id": user_id, "create_ms": now_ms, "update_ms": now_ms} | blank
            transaction.execute(upsert(transaction, person).values(values).on_conflict_do_nothing())

    def admit(self, transaction: Transaction, user_id: str, now_ms: int, issue_ms: int) -> None:
        """Refuse tokens from before an erasure. Raises Unauthenticated (ACCOUNT_ERASED)."""
        tombstone = self.tombstone(transaction, user_id)
        if tombstone and not tombstone.accepts(issue_ms, now_ms):
            raise Unauthenticated(ERASED, "ACCOUNT_ERASED")

    def tombstone(self, transaction: Transaction, user_id: str) -> Tombstone | None:
        """The tombstone of a user, if they were erased."""
        digests = [signature.hex() for signature in self._keys.signatures(user_id.encode())]
        query = select(erased_person).where(erased_person.c.digest.in_(digests))
        row = transaction.execute(query.order_by(erased_person.c.erase_ms.desc()).limit(1)).one_or_none()
        return Tombstone(row.check_in_day, row.erase_ms) if row else None

    def lock_for_erasure(self, transaction: Transaction, user_id: str, now_ms: int) -> None:
        """Write the tombstone of a user who is erased in this transaction, and lock the user's row against all others.

        The tombstone goes before even the lock: an erasure that finds no row holds none, and would wait in a ring with
        another one of a person who has come back meanwhile. It is written again once nobody can check in any more.
        """
        self._write_tombstone(transaction, user_id, now_ms)
        transaction.scalar(select(person.c.id).where(person.c.id == user_id).with_for_update())
        self._write_tombstone(transaction, user_id, now_ms)

    def _write_tombstone(self, transaction: Transaction, user_id: str, now_ms: int) -> None:
        """Write the tombstone, before the check-ins are deleted; a later one keeps the later day."""
        last = transaction.scalar(select(func.max(check_in.c.day)).where(check_in.c.user_id == user_id))
        older = self.tombstone(transaction, user_id)
        day = max(-1 if last is None else last, older.check_in_day if older else -1)
        values = {"digest": self._keys.sign(user_id.encode()).hex(), "check_in_day": day, "erase_ms": now_ms}
        statement = upsert(transaction, erased_person).values(values)
        newer = {"check_in_day": statement.excluded.check_in_day, "erase_ms": statement.excluded.erase_ms}
        transaction.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=newer))


class SqlUsers:
    """A UserStore."""

    def __init__(self, users: UserRows, clock: Clock) -> None:
        self._users, self._clock = users, clock

    def unchanged(self, transaction: Transaction, user_id: str, claims: Claims, issue_ms: int = 0) -> User | None:
        """Select the user and compare the claims."""
        self._users.admit(transaction, user_id, self._clock(), issue_ms)
        found = self.find(transaction, user_id)
        if found and all(getattr(found, name) == value for name, value in _given(claims).items()):
            return found
        return None

    def ensure(self, transaction: Transaction, user_id: str, claims: Claims, issue_ms: int = 0) -> User:
        """Lock the row, which is inserted on first use, and update it."""
        self._users.lock(transaction, user_id, self._clock(), issue_ms)
        return to_user(transaction.execute(self._changed(user_id, _given(claims))).mappings().one())

    def find(self, transaction: Transaction, user_id: str) -> User | None:
        """Select the row."""
        row = transaction.execute(select(person).where(person.c.id == user_id)).mappings().one_or_none()
        return to_user(row) if row else None

    def privacy(
        self, transaction: Transaction, user_id: str, *, hide_name: bool | None, hide_email: bool | None
    ) -> User | None:
        """Update the fields that are not None."""
        given = {"hide_name": hide_name, "hide_email": hide_email}
        values = {name: value for name, value in given.items() if value is not None}
        row = transaction.execute(self._changed(user_id, values)).mappings().one_or_none()
        return to_user(row) if row else None

    def batch(self, transaction: Transaction, after_id: str, limit: int) -> tuple[str, ...]:
        """Select ids."""
        following = select(person.c.id).where(person.c.id > after_id).order_by(person.c.id).limit(limit)
        return tuple(transaction.scalars(following))

    def objects(self, transaction: Transaction, user_id: str) -> tuple[str, ...]:
        """Select keys that are not in the deletion queue."""
        doomed = select(discarded_object.c.object_key).where(discarded_object.c.object_key == owned_object.c.object_key)
        mine = select(owned_object.c.object_key).where(owned_object.c.user_id == user_id, ~doomed.exists())
        return tuple(transaction.scalars(mine.order_by(owned_object.c.object_key)))

    def entries(self, transaction: Transaction, user_id: str) -> tuple[Entry, ...]:
        """Select ledger entries."""
        rows = transaction.execute(select(entry).where(entry.c.user_id == user_id).order_by(entry.c.sequence))
        return tuple([Entry(EntryKind(row.kind), row.amount, row.create_ms) for row in rows])

    def reports(self, transaction: Transaction, user_id: str) -> tuple[Report, ...]:
        """Select reports."""
        rows = transaction.execute(select(report).where(report.c.user_id == user_id).order_by(report.c.create_ms))
        return tuple([Report(row.artwork_id, row.user_id, row.reason, create_ms=row.create_ms) for row in rows])

    def erase(self, transaction: Transaction, user_id: str, erasure_id: str) -> Erasure:
        """Write the tombstone and erase the rows."""
        now = self._clock()
        self._users.lock_for_erasure(transaction, user_id, now)
        return user_erasure.erase(transaction, user_id, erasure_id, now)

    def erasure(self, transaction: Transaction, erasure_id: str) -> Erasure | None:
        """Select a receipt, and count the entries that are not deleted yet."""
        open_ = discarded_object.c.state != DeletionState.DELETED
        left = select(func.count()).where(discarded_object.c.erasure_id == erasure_id, open_).scalar_subquery()
        query = select(erasure, left.label("remaining_count")).where(erasure.c.id == erasure_id)
        row = transaction.execute(query).mappings().one_or_none()
        return Erasure(**row) if row else None

    def _changed(self, user_id: str, values: dict[str, Any]) -> ReturningUpdate[Any]:
        mine = update(person).where(person.c.id == user_id)
        return mine.values(**values, update_ms=self._clock()).returning(person)


def _given(claims: Claims) -> dict[str, Any]:
    """The claims that are not empty."""
    return {name: value for name, value in vars(claims).items() if value}
