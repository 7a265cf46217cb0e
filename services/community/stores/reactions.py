"""Likes, favourites and reports in SQL; a count changes only with the row that it counts."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, case, delete, func, or_, select, tuple_, update

from services.chassis.clock import Clock
from services.chassis.database import Transaction, upsert
from services.community.model import Action, After, Drift, HiddenMark, Reacted, Reaction, Report
from services.community.model.hotness import HOUR_MS, decayed_score
from services.community.ports import BudgetSpentError, NotListedError
from services.community.stores.rows import heat_columns, to_artwork
from services.community.stores.tables import artwork, artwork_favorite, artwork_like, budget, report
from services.community.stores.users import UserRows

TABLES: Mapping[Reaction, Table] = {Reaction.LIKE: artwork_like, Reaction.FAVORITE: artwork_favorite}
MOST_NAMED = 100  # of the proto


class SqlReactions:
    """A ReactionStore. The artwork's row is locked: its counts have one writer at a time."""

    def __init__(self, users: UserRows, clock: Clock) -> None:
        self._users, self._clock = users, clock

    def react(
        self,
        transaction: Transaction,
        user_id: str,
        artwork_id: str,
        reaction: Reaction,
        *,
        wanted: bool,
        per_hour: int,
    ) -> Reacted | None:
        """Insert or delete the row; if that was a change, count it against the limit and in the artwork."""
        self._users.lock(transaction, user_id, self._clock())
        shown = _locked(transaction, artwork_id)
        if shown is None or not (seen := to_artwork(shown)).visible_to(user_id):
            return None
        if wanted and not seen.listed:
            raise NotListedError
        changed = self._set(transaction, TABLES[reaction], user_id, artwork_id, wanted=wanted)
        if changed:
            self._spend(transaction, user_id, Action(reaction), per_hour)
            self._count(transaction, shown, reaction, 1 if wanted else -1)
        return _stands(transaction, user_id, artwork_id, changed=changed)

    def report(self, transaction: Transaction, given: Report, per_hour: int) -> bool:
        """Insert the report, or replace the older one; the artwork's row is locked against deletion."""
        values = {"artwork_id": given.artwork_id, "user_id": given.user_id, "reason": given.reason}
        self._users.lock(transaction, given.user_id, self._clock())
        shown = select(artwork.c.id).where(artwork.c.id == given.artwork_id)
        if transaction.scalar(shown.with_for_update(read=True, key_share=True)) is None:
            return False
        self._spend(transaction, given.user_id, Action.REPORT, per_hour)
        statement = upsert(transaction, report).values(**values, create_ms=given.create_ms)
        newer = {"reason": statement.excluded.reason, "create_ms": statement.excluded.create_ms}
        keys = ["artwork_id", "user_id"]
        transaction.execute(statement.on_conflict_do_update(index_elements=keys, set_=newer))
        return True

    def reports(self, transaction: Transaction, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Select a page."""
        order = (report.c.create_ms, report.c.artwork_id, report.c.user_id)
        query = select(report, artwork.c.hidden).join(artwork, artwork.c.id == report.c.artwork_id)
        if after:
            query = query.where(tuple_(*order) < tuple_(int(after[0]), *after[1].split(" ", 1)))
        query = query.order_by(*(column.desc() for column in order)).limit(limit)
        return tuple(map(_report, transaction.execute(query).mappings()))

    def reconcile(self, transaction: Transaction, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Compare the counts of the next artworks with the rows, under a lock when they are to be corrected."""
        following = select(artwork.c.id).where(artwork.c.id > after_id).order_by(artwork.c.id).limit(limit)
        if mend:
            following = following.with_for_update()
        ids = list(transaction.scalars(following))
        wrong = [row for row in _counted(transaction, ids) if _drift(row)]
        for row in wrong if mend else ():
            values = {"like_count": row["likes"], "favorite_count": row["favorites"], "hot_due_ms": self._clock()}
            transaction.execute(update(artwork).where(artwork.c.id == row["id"]).values(values))
        names = tuple(row["id"] for row in wrong[:MOST_NAMED])
        return Drift(len(ids), sum(map(_drift, wrong)), names), ids[-1] if len(ids) == limit else ""

    def _set(self, transaction: Transaction, table: Table, user_id: str, artwork_id: str, *, wanted: bool) -> bool:
        row = {"user_id": user_id, "artwork_id": artwork_id}
        if wanted:
            statement = upsert(transaction, table).values(**row, create_ms=self._clock()).on_conflict_do_nothing()
            return transaction.execute(statement).rowcount == 1
        mine = (table.c.user_id == user_id, table.c.artwork_id == artwork_id)
        return transaction.execute(delete(table).where(*mine)).rowcount == 1

    def _spend(self, transaction: Transaction, user_id: str, action: Action, per_hour: int) -> None:
        """Count an action of this hour; the statement that counts also enforces the limit."""
        if not per_hour:
            return
        hour = self._clock() // HOUR_MS
        statement = upsert(transaction, budget).values(user_id=user_id, action=action, hour=hour, count=1)
        fresh = case((budget.c.hour == hour, budget.c.count + 1), else_=1)
        room = or_(budget.c.hour != hour, budget.c.count < per_hour)
        counted = statement.on_conflict_do_update(
            index_elements=["user_id", "action"], set_={"hour": hour, "count": fresh}, where=room
        )
        if not transaction.execute(counted).rowcount:
            raise BudgetSpentError

    def _count(self, transaction: Transaction, shown: RowMapping, reaction: Reaction, step: int) -> None:
        counts = {"like_count": shown["like_count"], "favorite_count": shown["favorite_count"]}
        counts[f"{reaction}_count"] += step
        born = shown["publish_ms"] or shown["create_ms"]
        decayed = decayed_score(counts["like_count"], counts["favorite_count"], born, self._clock())
        values = counts | heat_columns(decayed)
        transaction.execute(update(artwork).where(artwork.c.id == shown["id"]).values(values))


def _locked(transaction: Transaction, artwork_id: str) -> RowMapping | None:
    query = select(artwork).where(artwork.c.id == artwork_id).with_for_update(key_share=True)
    return transaction.execute(query).mappings().one_or_none()


def _stands(transaction: Transaction, user_id: str, artwork_id: str, *, changed: bool) -> Reacted:
    columns = (artwork.c.like_count, artwork.c.favorite_count, artwork.c.hot_score)
    liked, kept = (_there(table, user_id) for table in TABLES.values())
    query = select(*columns, liked.label("liked"), kept.label("kept")).where(artwork.c.id == artwork_id)
    row = transaction.execute(query).one()
    return Reacted(
        artwork_id, row.like_count, row.favorite_count, bool(row.liked), bool(row.kept), row.hot_score, changed
    )


def _there(table: Table, user_id: str) -> ColumnElement[bool]:
    return select(table.c.user_id).where(table.c.artwork_id == artwork.c.id, table.c.user_id == user_id).exists()


def _counted(transaction: Transaction, ids: list[str]) -> list[RowMapping]:
    likes, favorites = (
        select(func.count()).where(table.c.artwork_id == artwork.c.id).scalar_subquery() for table in TABLES.values()
    )
    columns: tuple[Any, ...] = (artwork.c.id, artwork.c.like_count, artwork.c.favorite_count)
    query = select(*columns, likes.label("likes"), favorites.label("favorites")).where(artwork.c.id.in_(ids))
    return list(transaction.execute(query.order_by(artwork.c.id)).mappings())


def _drift(row: RowMapping) -> int:
    differences = row["like_count"] - row["likes"], row["favorite_count"] - row["favorites"]
    return sum(map(abs, differences))


def _report(row: RowMapping) -> Report:
    hidden = row["hidden"] == HiddenMark.HIDDEN
    return Report(row["artwork_id"], row["user_id"], row["reason"], hidden, row["create_ms"])
