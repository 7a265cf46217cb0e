"""Balances and check-ins in SQL; a change of a balance is one conditional statement."""

from typing import Any

from sqlalchemy import Select, select

from services.chassis.database import Database, retried, upsert
from services.chassis.shielding import shielded
from services.community.model import Balance, CheckIn
from services.community.ports import Clock
from services.community.stores.ledger import Ledger
from services.community.stores.tables import account, check_in
from services.community.stores.user_rows import UserRows


@shielded
@retried
class SqlCredits:
    """A CreditStore on one database."""

    def __init__(self, database: Database, users: UserRows, ledger: Ledger, clock: Clock) -> None:
        self._database, self._users, self._ledger, self._clock = database, users, ledger, clock

    async def balance(self, user_id: str) -> Balance:
        """Select the account, which is opened on first use."""
        if found := await self._found(user_id):
            return found
        async with self._database.write() as connection:
            await self._ledger.opened(connection, user_id, self._clock())
        return await self._found(user_id) or Balance()

    async def check_in(self, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Insert the day's row; only its insertion earns credits, unless that day had earned some before an erasure."""
        async with self._database.write() as connection:
            await self._ledger.opened(connection, user_id, self._clock())
            last = (await connection.execute(_last(user_id, day))).one_or_none()
            streak = last.streak + 1 if last and last.day == day - 1 else 1
            now = CheckIn(day, streak, last.total + 1 if last else 1)
            values = {"user_id": user_id, "day": day, "streak": now.streak, "total": now.total}
            statement = upsert(connection, check_in).values(values).on_conflict_do_nothing()
            first = (await connection.execute(statement)).rowcount == 1
            tombstone = await self._users.tombstone(connection, user_id)
            if first and tombstone and tombstone.check_in_day >= day:
                return now, False
            if first:
                await self._ledger.earn(connection, user_id, str(day), credits_, self._clock())
                return now, True
        return await self.last_check_in(user_id), False

    async def last_check_in(self, user_id: str) -> CheckIn:
        """Read the newest row."""
        async with self._database.read() as connection:
            row = (await connection.execute(_last(user_id, 2**31 - 1))).one_or_none()
        return CheckIn(row.day, row.streak, row.total) if row else CheckIn()

    async def _found(self, user_id: str) -> Balance | None:
        query = select(account.c.credits, account.c.held).where(account.c.user_id == user_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return Balance(row.credits, row.held) if row else None


def _last(user_id: str, before: int) -> Select[Any]:
    """The newest check-in before a day."""
    mine = (check_in.c.user_id == user_id, check_in.c.day < before)
    return select(check_in).where(*mine).order_by(check_in.c.day.desc()).limit(1)
