"""Credits in SQL: balances, check-ins, and the ledger of every change.

A change of a balance is one conditional statement. Its ledger entry is written in the transaction of what it pays for,
and each cause is booked once.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.clock import Clock
from services.chassis.database import Database, retried, shielded, upsert
from services.community.model import Balance, CheckIn, EntryKind, Hold, Order
from services.community.ports import CreditsShortError
from services.community.stores.tables import account, check_in, entry
from services.community.stores.users import UserRows

INITIAL = "initial"


class Ledger:
    """Accounts and their entries. A new account gets the initial credits, unless its user was erased before."""

    def __init__(self, initial: int, users: UserRows) -> None:
        self._initial, self._users = initial, users

    async def open_account(self, connection: AsyncConnection, user_id: str, now_ms: int) -> None:
        """Make sure that the user and the account exist."""
        await self._users.lock(connection, user_id, now_ms)
        if await connection.scalar(select(account.c.user_id).where(account.c.user_id == user_id)):
            return
        initial = 0 if await self._users.tombstone(connection, user_id) else self._initial
        values = {"user_id": user_id, "credits": initial, "held": 0}
        made = await connection.execute(upsert(connection, account).values(values).on_conflict_do_nothing())
        if made.rowcount and initial:
            await self._write(connection, user_id, (EntryKind.GRANT, INITIAL), initial, now_ms)

    async def hold(self, connection: AsyncConnection, order: Order) -> Order:
        """Hold the cost of an order. Raises CreditsShortError."""
        if not order.cost:
            return order
        await self.open_account(connection, order.user_id, order.create_ms)
        if not await self._move(connection, order.user_id, -order.cost, order.cost):
            found = select(account.c.credits).where(account.c.user_id == order.user_id)
            raise CreditsShortError(await connection.scalar(found) or 0)
        await self._write(connection, order.user_id, (EntryKind.HOLD, order.id), -order.cost, order.create_ms)
        return replace(order, hold=Hold.HELD)

    async def settle(self, connection: AsyncConnection, order: Order, *, paid: bool, now_ms: int) -> Order:
        """Capture or release an order's hold, once. A late success charges released credits again, if possible."""
        match order.hold, paid:
            case Hold.HELD, True:
                await self._move(connection, order.user_id, 0, -order.cost)
                return await self._settled(connection, order, EntryKind.CAPTURE, 0, now_ms)
            case Hold.HELD, False:
                await self._move(connection, order.user_id, order.cost, -order.cost)
                return await self._settled(connection, order, EntryKind.RELEASE, order.cost, now_ms)
            case Hold.RELEASED, True if await self._move(connection, order.user_id, -order.cost, 0):
                return await self._settled(connection, order, EntryKind.CAPTURE, -order.cost, now_ms)
            case _:
                return order

    async def earn(self, connection: AsyncConnection, user_id: str, cause: str, amount: int, now_ms: int) -> None:
        """Book the credits of a check-in."""
        await self._move(connection, user_id, amount, 0)
        await self._write(connection, user_id, (EntryKind.CHECKIN, cause), amount, now_ms)

    async def _settled(
        self, connection: AsyncConnection, order: Order, kind: EntryKind, amount: int, now_ms: int
    ) -> Order:
        await self._write(connection, order.user_id, (kind, order.id), amount, now_ms)
        return replace(order, hold=Hold.CAPTURED if kind is EntryKind.CAPTURE else Hold.RELEASED)

    async def _move(self, connection: AsyncConnection, user_id: str, credits_: int, held: int) -> bool:
        """Change a balance, unless the account has too few credits or is gone; one statement, so that no two race."""
        values = {"credits": account.c.credits + credits_, "held": account.c.held + held}
        able = account.c.credits >= -credits_
        moved = await connection.execute(update(account).where(account.c.user_id == user_id, able).values(values))
        return moved.rowcount > 0

    async def _write(
        self, connection: AsyncConnection, user_id: str, cause: tuple[EntryKind, str], amount: int, now_ms: int
    ) -> None:
        kind, name = cause
        line = {"user_id": user_id, "kind": kind, "cause": name, "amount": amount, "create_ms": now_ms}
        await connection.execute(insert(entry).values(line))


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
            await self._ledger.open_account(connection, user_id, self._clock())
        return await self._found(user_id) or Balance()

    async def check_in(self, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Insert the day's row; only its insertion earns credits, unless that day had earned some before an erasure."""
        async with self._database.write() as connection:
            await self._ledger.open_account(connection, user_id, self._clock())
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
