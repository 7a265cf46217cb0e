"""Likes, favourites and reports in SQL; a count changes only with the row that it counts."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, case, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.clock import Clock
from services.chassis.database import Database, retried, shielded, upsert
from services.community.model import Action, After, Drift, HiddenMark, Reacted, Reaction, Report
from services.community.model.hotness import HOUR_MS, decayed_score
from services.community.ports import BudgetSpentError
from services.community.stores.rows import heat_columns
from services.community.stores.tables import artwork, artwork_favorite, artwork_like, budget, report
from services.community.stores.users import UserRows

TABLES: Mapping[Reaction, Table] = {Reaction.LIKE: artwork_like, Reaction.FAVORITE: artwork_favorite}
MOST_NAMED = 100  # of the proto


@shielded
@retried
class SqlReactions:
    """A ReactionStore on one database. The artwork's row is locked: its counts have one writer at a time."""

    def __init__(self, database: Database, users: UserRows, clock: Clock) -> None:
        self._database, self._users, self._clock = database, users, clock

    async def react(
        self, user_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool, per_hour: int
    ) -> Reacted | None:
        """Insert or delete the row; if that was a change, count it against the limit and in the artwork."""
        async with self._database.write() as connection:
            await self._users.lock(connection, user_id, self._clock())
            shown = await _locked(connection, artwork_id)
            if shown is None or (wanted and not shown["listed"]):
                return None
            changed = await self._set(connection, TABLES[reaction], user_id, artwork_id, wanted=wanted)
            if changed:
                await self._spend(connection, user_id, Action(reaction), per_hour)
                await self._count(connection, shown, reaction, 1 if wanted else -1)
            return await _stands(connection, user_id, artwork_id, changed=changed)

    async def report(self, given: Report, per_hour: int) -> bool:
        """Insert the report, or replace the older one; the artwork's row is locked against deletion."""
        values = {"artwork_id": given.artwork_id, "user_id": given.user_id, "reason": given.reason}
        async with self._database.write() as connection:
            await self._users.lock(connection, given.user_id, self._clock())
            shown = select(artwork.c.id).where(artwork.c.id == given.artwork_id)
            if await connection.scalar(shown.with_for_update(read=True, key_share=True)) is None:
                return False
            await self._spend(connection, given.user_id, Action.REPORT, per_hour)
            statement = upsert(connection, report).values(**values, create_ms=given.create_ms)
            newer = {"reason": statement.excluded.reason, "create_ms": statement.excluded.create_ms}
            keys = ["artwork_id", "user_id"]
            await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=newer))
        return True

    async def reports(self, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Select a page."""
        order = (report.c.create_ms, report.c.artwork_id, report.c.user_id)
        query = select(report, artwork.c.hidden).join(artwork, artwork.c.id == report.c.artwork_id)
        if after:
            query = query.where(tuple_(*order) < tuple_(int(after[0]), *after[1].split(" ", 1)))
        query = query.order_by(*(column.desc() for column in order)).limit(limit)
        async with self._database.read() as connection:
            return tuple(map(_report, (await connection.execute(query)).mappings()))

    async def reconcile(self, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Compare the counts of the next artworks with the rows, under a lock when they are to be corrected."""
        following = select(artwork.c.id).where(artwork.c.id > after_id).order_by(artwork.c.id).limit(limit)
        async with self._database.write() as connection:
            if mend:
                following = following.with_for_update()
            ids = list((await connection.execute(following)).scalars())
            wrong = [row for row in await _counted(connection, ids) if _drift(row)]
            for row in wrong if mend else ():
                values = {"like_count": row["likes"], "favorite_count": row["favorites"], "hot_due_ms": self._clock()}
                await connection.execute(update(artwork).where(artwork.c.id == row["id"]).values(values))
        names = tuple(row["id"] for row in wrong[:MOST_NAMED])
        return Drift(len(ids), sum(map(_drift, wrong)), names), ids[-1] if len(ids) == limit else ""

    async def _set(
        self, connection: AsyncConnection, table: Table, user_id: str, artwork_id: str, *, wanted: bool
    ) -> bool:
        row = {"user_id": user_id, "artwork_id": artwork_id}
        if wanted:
            statement = upsert(connection, table).values(**row, create_ms=self._clock()).on_conflict_do_nothing()
            return (await connection.execute(statement)).rowcount == 1
        mine = (table.c.user_id == user_id, table.c.artwork_id == artwork_id)
        return (await connection.execute(delete(table).where(*mine))).rowcount == 1

    async def _spend(self, connection: AsyncConnection, user_id: str, action: Action, per_hour: int) -> None:
        """Count an action of this hour; the statement that counts also enforces the limit."""
        if not per_hour:
            return
        hour = self._clock() // HOUR_MS
        statement = upsert(connection, budget).values(user_id=user_id, action=action, hour=hour, count=1)
        fresh = case((budget.c.hour == hour, budget.c.count + 1), else_=1)
        room = or_(budget.c.hour != hour, budget.c.count < per_hour)
        counted = statement.on_conflict_do_update(
            index_elements=["user_id", "action"], set_={"hour": hour, "count": fresh}, where=room
        )
        if not (await connection.execute(counted)).rowcount:
            raise BudgetSpentError

    async def _count(self, connection: AsyncConnection, shown: RowMapping, reaction: Reaction, step: int) -> None:
        counts = {"like_count": shown["like_count"], "favorite_count": shown["favorite_count"]}
        counts[f"{reaction}_count"] += step
        born = shown["publish_ms"] or shown["create_ms"]
        decayed = decayed_score(counts["like_count"], counts["favorite_count"], born, self._clock())
        values = counts | heat_columns(decayed)
        await connection.execute(update(artwork).where(artwork.c.id == shown["id"]).values(values))


async def _locked(connection: AsyncConnection, artwork_id: str) -> RowMapping | None:
    query = select(artwork).where(artwork.c.id == artwork_id).with_for_update(key_share=True)
    return (await connection.execute(query)).mappings().one_or_none()


async def _stands(connection: AsyncConnection, user_id: str, artwork_id: str, *, changed: bool) -> Reacted:
    columns = (artwork.c.like_count, artwork.c.favorite_count, artwork.c.hot_score)
    liked, kept = (_there(table, user_id) for table in TABLES.values())
    query = select(*columns, liked.label("liked"), kept.label("kept")).where(artwork.c.id == artwork_id)
    row = (await connection.execute(query)).one()
    return Reacted(
        artwork_id, row.like_count, row.favorite_count, bool(row.liked), bool(row.kept), row.hot_score, changed
    )


def _there(table: Table, user_id: str) -> ColumnElement[bool]:
    return select(table.c.user_id).where(table.c.artwork_id == artwork.c.id, table.c.user_id == user_id).exists()


async def _counted(connection: AsyncConnection, ids: list[str]) -> list[RowMapping]:
    likes, favorites = (
        select(func.count()).where(table.c.artwork_id == artwork.c.id).scalar_subquery() for table in TABLES.values()
    )
    columns: tuple[Any, ...] = (artwork.c.id, artwork.c.like_count, artwork.c.favorite_count)
    query = select(*columns, likes.label("likes"), favorites.label("favorites")).where(artwork.c.id.in_(ids))
    return list((await connection.execute(query.order_by(artwork.c.id))).mappings())


def _drift(row: RowMapping) -> int:
    differences = row["like_count"] - row["likes"], row["favorite_count"] - row["favorites"]
    return sum(map(abs, differences))


def _report(row: RowMapping) -> Report:
    hidden = row["hidden"] == HiddenMark.HIDDEN
    return Report(row["artwork_id"], row["user_id"], row["reason"], hidden, row["create_ms"])
