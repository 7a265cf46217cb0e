"""Ledger entries, written in the transaction of what they pay for; each cause is booked once."""

from dataclasses import replace

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.database import upsert
from services.community.model import EntryKind, Hold, Order
from services.community.ports import CreditsShortError
from services.community.stores.tables import account, entry
from services.community.stores.user_rows import UserRows

INITIAL = "initial"


class Ledger:
    """Accounts and their entries. A new account gets the initial credits, unless its user was erased before."""

    def __init__(self, initial: int, users: UserRows) -> None:
        self._initial, self._users = initial, users

    async def opened(self, connection: AsyncConnection, user_id: str, now_ms: int) -> None:
        """Make sure that the user and the account exist."""
        await self._users.known(connection, user_id, now_ms)
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
        await self.opened(connection, order.user_id, order.create_ms)
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
