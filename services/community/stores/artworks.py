"""Artworks in SQL, on SQLite and PostgreSQL alike."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, case, delete, func, or_, select, update

from services.chassis.clock import Clock
from services.chassis.database import Transaction, upsert
from services.community.model import Artwork, Card, HiddenMark, State
from services.community.model.hotness import decayed_score
from services.community.stores import deletion_queue
from services.community.stores.rows import LISTED, artwork_row, heat_columns, select_cards, to_artwork, to_card
from services.community.stores.tables import artwork, artwork_order
from services.community.stores.users import UserRows


class SqlArtworks:
    """An ArtworkStore."""

    def __init__(self, users: UserRows, clock: Clock) -> None:
        self._users, self._clock = users, clock

    def find(self, transaction: Transaction, artwork_id: str, viewer_id: str) -> Card | None:
        """Select a card."""
        return _one(transaction, select_cards(viewer_id).where(artwork.c.id == artwork_id))

    def find_any(self, transaction: Transaction, identifier: str, viewer_id: str) -> Card | None:
        """Select a card by the artwork's id, then by an order's ids."""
        found = self.find(transaction, identifier, viewer_id)
        return found or _one(transaction, _by_any_id(identifier, viewer_id))

    def find_object(self, transaction: Transaction, user_id: str, object_key: str) -> Card | None:
        """Select a card by its object."""
        mine = select_cards(user_id).where(artwork.c.object_key == object_key, artwork.c.user_id == user_id)
        return _one(transaction, mine.order_by(artwork.c.id.desc()).limit(1))

    def find_request(self, transaction: Transaction, user_id: str, request_key: str) -> Card | None:
        """Select a card by its request_key."""
        mine = (artwork.c.user_id == user_id, artwork.c.request_key == request_key)
        return _one(transaction, select_cards(user_id).where(*mine))

    def cards(self, transaction: Transaction, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Select cards."""
        found = transaction.execute(select_cards(viewer_id).where(artwork.c.id.in_(artwork_ids)))
        return {card.artwork.id: card for card in map(to_card, found.mappings())}

    def insert(self, transaction: Transaction, given: Artwork) -> Artwork:
        """Insert the artwork and refer to its object, or select the older one and discard the new object."""
        kept = insert_or_find(transaction, self._users, given)
        if kept.id == given.id:
            deletion_queue.refer(transaction, given.object_key, given.user_id)
        elif kept.object_key != given.object_key:
            drop_picture(transaction, given)
        return kept

    def change(self, transaction: Transaction, given: Artwork, was: State) -> bool:
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
        changed = transaction.execute(update(artwork).where(*same).values(values))
        return changed.rowcount > 0

    def remove(self, transaction: Transaction, artwork_id: str) -> bool:
        """Delete the artwork with its reactions and reports, and discard its object if no other shows it."""
        gone = delete(artwork).where(artwork.c.id == artwork_id).returning(artwork)
        row = transaction.execute(gone).mappings().one_or_none()
        if row is None:
            return False
        drop_picture(transaction, to_artwork(row))
        return True

    def hide(self, transaction: Transaction, artwork_id: str, *, hidden: bool) -> bool:
        """Set the mark, and whether the artwork is listed."""
        mark = HiddenMark.HIDDEN if hidden else HiddenMark.SHOWN
        listed: Any = False if hidden else artwork.c.state == State.PUBLISHED
        values = {"hidden": mark, "listed": listed, "update_ms": self._clock()}
        changed = transaction.execute(update(artwork).where(artwork.c.id == artwork_id).values(values))
        return changed.rowcount > 0

    def rank(self, transaction: Transaction, score: float, most: int) -> int:
        """Count a bounded range of an index."""
        higher = select(artwork.c.id).where(LISTED, artwork.c.hot_score > score).limit(most).subquery()
        return transaction.scalar(select(func.count()).select_from(higher)) or 0

    def top_scores(self, transaction: Transaction, most: int) -> tuple[float, ...]:
        """Select the end of an index."""
        scores = select(artwork.c.hot_score).where(LISTED).order_by(artwork.c.hot_score.desc()).limit(most)
        return tuple(transaction.scalars(scores))

    def decay_scores(self, transaction: Transaction, now_ms: int, limit: int) -> int:
        """Update the scores that are due; rows are locked, since a reaction may change the counts."""
        columns = (artwork.c.id, artwork.c.like_count, artwork.c.favorite_count, artwork.c.publish_ms)
        due = select(*columns, artwork.c.create_ms).where(artwork.c.hot_due_ms <= now_ms).limit(limit)
        found = transaction.execute(due.with_for_update(skip_locked=True)).all()
        for each in found:
            born = each.publish_ms or each.create_ms
            decayed = decayed_score(each.like_count, each.favorite_count, born, now_ms)
            transaction.execute(update(artwork).where(artwork.c.id == each.id).values(heat_columns(decayed)))
        return len(found)

    def own(self, transaction: Transaction, object_key: str, user_id: str) -> str:
        """Insert the owner, and take the object out of the deletion queue for its owner."""
        self._users.lock(transaction, user_id, self._clock())
        deletion_queue.own(transaction, object_key, user_id)
        owner = deletion_queue.owner(transaction, object_key)
        if owner == user_id:
            deletion_queue.refer(transaction, object_key, user_id)
        return owner

    def owner(self, transaction: Transaction, object_key: str) -> str:
        """Select the owner."""
        return deletion_queue.owner(transaction, object_key)

    def deleted_again(self, transaction: Transaction, object_key: str) -> None:
        """Make the entry of a deleted object due."""
        deletion_queue.delete_again(transaction, object_key)


def _one(transaction: Transaction, statement: Select[Any]) -> Card | None:
    row = transaction.execute(statement).mappings().one_or_none()
    return to_card(row) if row else None


def insert_or_find(transaction: Transaction, users: UserRows, given: Artwork) -> Artwork:
    """Insert an artwork, or return the owner's artwork with its request_key; the empty update locks it."""
    users.lock(transaction, given.user_id, given.create_ms)
    statement = upsert(transaction, artwork).values(artwork_row(given))
    same = {"request_key": statement.excluded.request_key}
    statement = statement.on_conflict_do_update(index_elements=["user_id", "request_key"], set_=same)
    return to_artwork(transaction.execute(statement.returning(artwork)).mappings().one())


def drop_picture(transaction: Transaction, gone: Artwork) -> None:
    """Discard the object of a deleted artwork, if its owner owns it and no artwork shows it.

    It keeps its owner until its bytes are deleted, so that nobody else can save what its owner has deleted.
    """
    if gone.object_key and deletion_queue.owner(transaction, gone.object_key) == gone.user_id:
        deletion_queue.discard_unshown(transaction, gone.object_key)


def _by_any_id(identifier: str, viewer_id: str) -> Select[Any]:
    """The artwork that was ordered under a generation's or a provider's id, with that order."""
    named = or_(artwork_order.c.generation_id == identifier, artwork_order.c.task_id == identifier)
    ordered = artwork_order.c.artwork_id == artwork.c.id
    return select_cards(viewer_id, ordered).where(named).order_by(artwork_order.c.create_ms.desc()).limit(1)
