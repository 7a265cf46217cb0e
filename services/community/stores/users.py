"""Users in SQL, and the queries of their export."""

from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from services.chassis.database import Database, retried
from services.chassis.shielding import shielded
from services.community.model import Claims, DeletionState, Entry, EntryKind, Erasure, Report, User
from services.community.ports import Clock
from services.community.stores import user_erasure
from services.community.stores.rows import to_user
from services.community.stores.tables import discarded_object, entry, erasure, owned_object, person, report
from services.community.stores.user_rows import UserRows


@shielded
@retried
class SqlUsers:
    """A UserStore on one database."""

    def __init__(self, database: Database, users: UserRows, clock: Clock) -> None:
        self._database, self._users, self._clock = database, users, clock

    async def ensure(self, user_id: str, claims: Claims, issue_ms: int = 0) -> User:
        """Select the user; update only when claims have changed, which is rare."""
        given = {name: value for name, value in vars(claims).items() if value}
        async with self._database.read() as connection:
            await self._users.admit(connection, user_id, self._clock(), issue_ms)
        found = await self.find(user_id)
        if found and all(getattr(found, name) == value for name, value in given.items()):
            return found
        async with self._database.write() as connection:
            await self._users.known(connection, user_id, self._clock(), issue_ms)
            return to_user((await connection.execute(self._changed(user_id, given))).mappings().one())

    async def find(self, user_id: str) -> User | None:
        """Select the row."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(person).where(person.c.id == user_id))).mappings().one_or_none()
        return to_user(row) if row else None

    async def privacy(self, user_id: str, *, hide_name: bool | None, hide_email: bool | None) -> User | None:
        """Update the fields that are not None."""
        given = {"hide_name": hide_name, "hide_email": hide_email}
        values = {name: value for name, value in given.items() if value is not None}
        async with self._database.write() as connection:
            row = (await connection.execute(self._changed(user_id, values))).mappings().one_or_none()
        return to_user(row) if row else None

    async def batch(self, after_id: str, limit: int) -> tuple[str, ...]:
        """Select ids."""
        following = select(person.c.id).where(person.c.id > after_id).order_by(person.c.id).limit(limit)
        return tuple([row.id for row in await self._rows(following)])

    async def objects(self, user_id: str) -> tuple[str, ...]:
        """Select keys that are not in the deletion queue."""
        doomed = select(discarded_object.c.object_key).where(discarded_object.c.object_key == owned_object.c.object_key)
        mine = select(owned_object.c.object_key).where(owned_object.c.user_id == user_id, ~doomed.exists())
        return tuple([row.object_key for row in await self._rows(mine.order_by(owned_object.c.object_key))])

    async def entries(self, user_id: str) -> tuple[Entry, ...]:
        """Select ledger entries."""
        rows = await self._rows(select(entry).where(entry.c.user_id == user_id).order_by(entry.c.sequence))
        return tuple([Entry(EntryKind(row.kind), row.amount, row.create_ms) for row in rows])

    async def reports(self, user_id: str) -> tuple[Report, ...]:
        """Select reports."""
        rows = await self._rows(select(report).where(report.c.user_id == user_id).order_by(report.c.create_ms))
        return tuple([Report(row.artwork_id, row.user_id, row.reason, create_ms=row.create_ms) for row in rows])

    async def erase(self, user_id: str, erasure_id: str) -> Erasure:
        """Erase a user in one transaction."""
        async with self._database.write() as connection:
            return await user_erasure.erase(connection, self._users, user_id, erasure_id, self._clock())

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """Select a receipt, and count the entries that are not deleted yet."""
        open_ = discarded_object.c.state != DeletionState.DELETED
        left = select(func.count()).where(discarded_object.c.erasure_id == erasure_id, open_).scalar_subquery()
        query = select(erasure, left.label("remaining_count")).where(erasure.c.id == erasure_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return Erasure(**row) if row else None

    def _changed(self, user_id: str, values: dict[str, Any]) -> ReturningUpdate[Any]:
        mine = update(person).where(person.c.id == user_id)
        return mine.values(**values, update_ms=self._clock()).returning(person)

    async def _rows(self, query: Select[Any]) -> list[Any]:
        async with self._database.read() as connection:
            return list((await connection.execute(query)).all())
