"""Artworks in SQL, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.clock import Clock
from services.chassis.database import Database, retried, shielded, upsert
from services.community.model import Artwork, Card, HiddenMark, State
from services.community.model.hotness import decayed_score
from services.community.stores import deletion_queue
from services.community.stores.rows import LISTED, artwork_row, heat_columns, select_cards, to_artwork, to_card
from services.community.stores.tables import artwork, artwork_order
from services.community.stores.users import UserRows


@shielded
@retried
class SqlArtworks:
    """An ArtworkStore on one database."""

    def __init__(self, database: Database, users: UserRows, clock: Clock) -> None:
        self._database, self._users, self._clock = database, users, clock

    async def find(self, artwork_id: str, viewer_id: str) -> Card | None:
        """Select a card."""
        return await self._one(select_cards(viewer_id).where(artwork.c.id == artwork_id))

    async def find_any(self, identifier: str, viewer_id: str) -> Card | None:
        """Select a card by the artwork's id, then by an order's ids."""
        return await self._one(select_cards(viewer_id).where(artwork.c.id == identifier)) or await self._one(
            _by_any_id(identifier, viewer_id)
        )

    async def find_object(self, user_id: str, object_key: str) -> Card | None:
        """Select a card by its object."""
        mine = select_cards(user_id).where(artwork.c.object_key == object_key, artwork.c.user_id == user_id)
        return await self._one(mine.order_by(artwork.c.id.desc()).limit(1))

    async def find_request(self, user_id: str, request_key: str) -> Card | None:
        """Select a card by its request_key."""
        mine = (artwork.c.user_id == user_id, artwork.c.request_key == request_key)
        return await self._one(select_cards(user_id).where(*mine))

    async def cards(self, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Select cards."""
        async with self._database.read() as connection:
            found = await connection.execute(select_cards(viewer_id).where(artwork.c.id.in_(artwork_ids)))
            return {card.artwork.id: card for card in map(to_card, found.mappings())}

    async def insert(self, given: Artwork) -> Artwork:
        """Insert the artwork and refer to its object, or select the older one and discard the new object."""
        async with self._database.write() as connection:
            kept = await insert_or_find(connection, self._users, given)
            if kept.id == given.id:
                await deletion_queue.refer(connection, given.object_key, given.user_id)
            elif kept.object_key != given.object_key:
                await drop_picture(connection, given)
            return kept

    async def change(self, given: Artwork, was: State) -> bool:
        """Update the artwork if its state is unchanged, and whether it is listed."""
        now = self._clock()
        values = {
            "state": given.state,
            "title": given.title,
            "slug": given.slug,
            "publish_ms": case((artwork.c.publish_ms == 0, given.publish_ms), else_=artwork.c.publish_ms),
            "age_class": 0,  # none may miss it until then
            "hot_due_ms": now,  # the next round of the score decay computes it, under a lock
            "update_ms": now,
            "listed": (artwork.c.hidden == HiddenMark.SHOWN) if given.state is State.PUBLISHED else False,
        }
        same = (artwork.c.id == given.id, artwork.c.state == was)
        async with self._database.write() as connection:
            changed = await connection.execute(update(artwork).where(*same).values(values))
        return changed.rowcount > 0

    async def remove(self, artwork_id: str) -> bool:
        """Delete the artwork with its reactions and reports, and discard its object if no other shows it."""
        async with self._database.write() as connection:
            gone = delete(artwork).where(artwork.c.id == artwork_id).returning(artwork)
            row = (await connection.execute(gone)).mappings().one_or_none()
            if row is None:
                return False
            await drop_picture(connection, to_artwork(row))
        return True

    async def hide(self, artwork_id: str, *, hidden: bool) -> bool:
        """Set the mark, and whether the artwork is listed."""
        mark = HiddenMark.HIDDEN if hidden else HiddenMark.SHOWN
        listed: Any = False if hidden else artwork.c.state == State.PUBLISHED
        values = {"hidden": mark, "listed": listed, "update_ms": self._clock()}
        async with self._database.write() as connection:
            changed = await connection.execute(update(artwork).where(artwork.c.id == artwork_id).values(values))
        return changed.rowcount > 0

    async def rank(self, score: float, most: int) -> int:
        """Count a bounded range of an index."""
        higher = select(artwork.c.id).where(LISTED, artwork.c.hot_score > score).limit(most).subquery()
        async with self._database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(higher)) or 0

    async def top_scores(self, most: int) -> tuple[float, ...]:
        """Select the end of an index."""
        scores = select(artwork.c.hot_score).where(LISTED).order_by(artwork.c.hot_score.desc()).limit(most)
        async with self._database.read() as connection:
            return tuple((await connection.execute(scores)).scalars())

    async def decay_scores(self, now_ms: int, limit: int) -> int:
        """Update the scores that are due; rows are locked, since a reaction may change the counts."""
        columns = (artwork.c.id, artwork.c.like_count, artwork.c.favorite_count, artwork.c.publish_ms)
        due = select(*columns, artwork.c.create_ms).where(artwork.c.hot_due_ms <= now_ms).limit(limit)
        async with self._database.write() as connection:
            found = (await connection.execute(due.with_for_update(skip_locked=True))).all()
            for each in found:
                born = each.publish_ms or each.create_ms
                decayed = decayed_score(each.like_count, each.favorite_count, born, now_ms)
                await connection.execute(update(artwork).where(artwork.c.id == each.id).values(heat_columns(decayed)))
        return len(found)

    async def own(self, object_key: str, user_id: str) -> str:
        """Insert the owner, and take the object out of the deletion queue for its owner."""
        async with self._database.write() as connection:
            await self._users.lock(connection, user_id, self._clock())
            await deletion_queue.own(connection, object_key, user_id)
            owner = await deletion_queue.owner(connection, object_key)
            if owner == user_id:
                await deletion_queue.refer(connection, object_key, user_id)
            return owner

    async def owner(self, object_key: str) -> str:
        """Select the owner."""
        async with self._database.read() as connection:
            return await deletion_queue.owner(connection, object_key)

    async def deleted_again(self, object_key: str) -> None:
        """Make the entry of a deleted object due."""
        async with self._database.write() as connection:
            await deletion_queue.delete_again(connection, object_key)

    async def _one(self, statement: Select[Any]) -> Card | None:
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return to_card(row) if row else None


async def insert_or_find(connection: AsyncConnection, users: UserRows, given: Artwork) -> Artwork:
    """Insert an artwork, or return the owner's artwork with its request_key; the empty update locks it."""
    await users.lock(connection, given.user_id, given.create_ms)
    statement = upsert(connection, artwork).values(artwork_row(given))
    same = {"request_key": statement.excluded.request_key}
    statement = statement.on_conflict_do_update(index_elements=["user_id", "request_key"], set_=same)
    return to_artwork((await connection.execute(statement.returning(artwork))).mappings().one())


async def drop_picture(connection: AsyncConnection, gone: Artwork) -> None:
    """Discard the object of a deleted artwork, if its owner owns it and no artwork shows it.

    It keeps its owner until its bytes are deleted, so that nobody else can save what its owner has deleted.
    """
    if gone.object_key and await deletion_queue.owner(connection, gone.object_key) == gone.user_id:
        await deletion_queue.discard_unshown(connection, gone.object_key)


def _by_any_id(identifier: str, viewer_id: str) -> Select[Any]:
    """The artwork that was ordered under a generation's or a provider's id, with that order."""
    named = or_(artwork_order.c.generation_id == identifier, artwork_order.c.task_id == identifier)
    ordered = artwork_order.c.artwork_id == artwork.c.id
    return select_cards(viewer_id, ordered).where(named).order_by(artwork_order.c.create_ms.desc()).limit(1)
