"""Rows of users, and tombstones of erased ones; every transaction of a user locks the user's row first.

The lock (FOR KEY SHARE) lets all of a user's transactions run at once, except for an erasure. Rows are locked in this
order everywhere: tombstone, person, order, artworks by id, account, owners of objects, deletion queue. So no two
deadlock.
"""

import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import upsert
from services.chassis.errors import Unauthenticated
from services.community.model.hotness import DAY_MS
from services.community.stores.tables import check_in, erased_person, person

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
    """Rows and tombstones of users; `key` is the HMAC key of the digests in tombstones."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def known(self, connection: AsyncConnection, user_id: str, now_ms: int, issue_ms: int = 0) -> None:
        """Lock the user's row, which is inserted on first use.

        Raises:
            Unauthenticated: the user was erased, and the token was not issued later (reason ACCOUNT_ERASED).
        """
        row = select(person.c.id).where(person.c.id == user_id).with_for_update(read=True, key_share=True)
        for _ in range(LOOKS):
            if await connection.scalar(row) is not None:
                return
            await self.admit(connection, user_id, now_ms, issue_ms)
            blank = {"display_name": "", "email": "", "picture_uri": "", "hide_name": False, "hide_email": True}
            values = {"id": user_id, "create_ms": now_ms, "update_ms": now_ms} | blank
            await connection.execute(upsert(connection, person).values(values).on_conflict_do_nothing())

    async def admit(self, connection: AsyncConnection, user_id: str, now_ms: int, issue_ms: int) -> None:
        """Refuse tokens from before an erasure. Raises Unauthenticated (ACCOUNT_ERASED)."""
        tombstone = await self.tombstone(connection, user_id)
        if tombstone and not tombstone.accepts(issue_ms, now_ms):
            raise Unauthenticated(ERASED, "ACCOUNT_ERASED")

    async def tombstone(self, connection: AsyncConnection, user_id: str) -> Tombstone | None:
        """The tombstone of a user, if they were erased."""
        query = select(erased_person).where(erased_person.c.digest == self._digest(user_id))
        row = (await connection.execute(query)).one_or_none()
        return Tombstone(row.check_in_day, row.erase_ms) if row else None

    async def bury(self, connection: AsyncConnection, user_id: str, now_ms: int) -> None:
        """Write the tombstone, before the check-ins are deleted; a later one keeps the later day."""
        last = await connection.scalar(select(func.max(check_in.c.day)).where(check_in.c.user_id == user_id))
        older = await self.tombstone(connection, user_id)
        day = max(-1 if last is None else last, older.check_in_day if older else -1)
        values = {"digest": self._digest(user_id), "check_in_day": day, "erase_ms": now_ms}
        statement = upsert(connection, erased_person).values(values)
        newer = {"check_in_day": statement.excluded.check_in_day, "erase_ms": statement.excluded.erase_ms}
        await connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=newer))

    def _digest(self, user_id: str) -> str:
        return hmac.new(self._key, user_id.encode(), hashlib.sha256).hexdigest()
