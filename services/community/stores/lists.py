"""Lists of artworks: first pages from the read models, all others from ranges of an index.

Read models hold ids only; the rows are read by id in one query. So nobody sees a draft or a stale count, and a list
that names a deleted artwork, or is in another order by now, is read from the rows. A page is one query, however many
artworks there are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Select,
    Table,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)

from services.chassis.database import Database, Transaction
from services.community.model import After, Artwork, ListEntry, Listing, Reacted, Reaction, Shelf, State
from services.community.stores.artworks import SqlArtworks
from services.community.stores.read_models import CachedMembers, RedisModels
from services.community.stores.rows import LISTED, select_cards, to_card
from services.community.stores.tables import artwork, artwork_favorite, artwork_like

FEED, RANKING = "feed_queue", "hot_rank"
DEPTH = 200  # of a list: nearly two of the longest pages
SET_DEPTH = 10_000  # of a set of favourites
VALUES: Mapping[Shelf, Callable[[Artwork], float]] = {
    Shelf.NEWEST: lambda artwork: artwork.publish_ms,
    Shelf.HOT: lambda artwork: artwork.hot_score,
    Shelf.AUTHOR: lambda artwork: artwork.create_ms,
}
RELATIONS = {Shelf.FAVORITES: artwork_favorite, Shelf.LIKES: artwork_like}
ORDERED_BY: dict[Shelf, ColumnElement[Any]] = {
    Shelf.NEWEST: artwork.c.publish_ms,
    Shelf.HOT: artwork.c.hot_score,
    Shelf.OWNER: artwork.c.create_ms,
    Shelf.FINISHED: artwork.c.create_ms,
    Shelf.AUTHOR: artwork.c.create_ms,
}


def _artworks_key(user_id: str) -> str:
    """The key of the list of a user's published artworks."""
    return f"user:{user_id}:artworks"


def _favorites_key(user_id: str) -> str:
    """The key of the set of a user's favourites."""
    return f"user:{user_id}:favorites"


def _likes_key(artwork_id: str) -> str:
    """The key of the number of an artwork's likes."""
    return f"artwork:{artwork_id}:likes"


def _key_of(listing: Listing) -> str:
    """The key of a list's read model; empty for lists without one."""
    match listing:
        case Listing(Shelf.NEWEST):
            return FEED
        case Listing(Shelf.HOT, _, 0, 0):
            return RANKING
        case Listing(Shelf.AUTHOR, user_id):
            return _artworks_key(user_id)
        case _:
            return ""


class ArtworkLists:
    """The Lists port on one database, with read models for the first pages of the feed, the ranking and authors."""

    def __init__(self, database: Database, artwork_store: SqlArtworks, models: RedisModels) -> None:
        self._database, self._artwork_store, self._models = database, artwork_store, models

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[ListEntry, ...]:
        """The page of the read model if it is valid, else the page of the rows."""
        key = _key_of(listing)
        if not key or after or skip or limit > DEPTH:
            return await self._page_of_rows(listing, viewer_id, limit, after, skip)
        look = await self._look(listing, key)
        if entries := await self._known(listing, (look.members or ())[:limit], viewer_id):
            return entries
        if not look.epoch:
            return await self._page_of_rows(listing, viewer_id, limit)
        return (await self._filled(listing, viewer_id, look.epoch))[:limit]

    def relisted(self, user_id: str) -> None:
        """Begin to invalidate the feed, the ranking and the user's list."""
        self._models.begin(user_id, partial(self._models.forget, FEED, RANKING, _artworks_key(user_id)))

    def reacted(self, user_id: str, reaction: Reaction, result: Reacted) -> None:
        """Begin to update the score and the number of likes or the set of favourites; a missing set is filled."""
        self._models.begin(user_id, partial(self._reacted, user_id, reaction, result))

    def scores_decayed(self) -> None:
        """Begin to invalidate the ranking."""
        self._models.begin("", partial(self._models.forget, RANKING))

    async def updated(self, user_id: str) -> None:
        """Wait for the updates of the read models."""
        await self._models.ended(user_id)

    async def _reacted(self, user_id: str, reaction: Reaction, result: Reacted) -> None:
        await self._models.score(RANKING, result.artwork_id, result.hot_score)
        if reaction is Reaction.LIKE:
            await self._models.put_number(_likes_key(result.artwork_id), result.like_count)
        elif not await self._models.member(_favorites_key(user_id), result.artwork_id, there=result.favorited):
            await self._fill_favorites(user_id)

    async def rebuild_common(self) -> int:
        """Rebuild the feed and the ranking."""
        return await self._anew(Listing(Shelf.NEWEST)) + await self._anew(Listing(Shelf.HOT))

    async def rebuild_of_user(self, user_id: str) -> int:
        """Rebuild a user's list and set, and the likes of their artworks."""
        before = self._models.written
        listing = Listing(Shelf.AUTHOR, user_id)
        await self._anew(listing)
        await self._fill_favorites(user_id)
        for entry in await self._page_of_rows(listing, "", DEPTH):
            await self._models.put_number(_likes_key(entry.card.artwork.id), entry.card.artwork.like_count)
        return self._models.written - before

    async def _fill_favorites(self, user_id: str) -> None:
        """Rebuild a user's set of favourites."""
        await self._models.put_set(_favorites_key(user_id), await self._database.read(_favorites, user_id))

    async def _anew(self, listing: Listing) -> int:
        before, look = self._models.written, await self._look(listing, _key_of(listing))
        if look.epoch:
            await self._filled(listing, "", look.epoch)
        return self._models.written - before

    async def _look(self, listing: Listing, key: str) -> CachedMembers:
        read = self._models.ranking if listing.shelf is Shelf.HOT else self._models.list
        return await read(key, DEPTH)

    async def _known(self, listing: Listing, ids: Sequence[str], viewer_id: str) -> tuple[ListEntry, ...]:
        """The cards of a cached list; none when it is stale."""
        cards = await self._database.read(self._artwork_store.cards, ids, viewer_id) if ids else {}
        if len(cards) < len(ids) or not all(card.artwork.listed for card in cards.values()):
            return ()
        value = VALUES[listing.shelf]
        entries = tuple([ListEntry(cards[each], value(cards[each].artwork)) for each in ids])
        order = [(entry.value, entry.card.artwork.id) for entry in entries]
        return entries if order == sorted(order, reverse=True) else ()

    async def _filled(self, listing: Listing, viewer_id: str, epoch: bytes) -> tuple[ListEntry, ...]:
        entries = await self._page_of_rows(listing, viewer_id, DEPTH)
        ids = [entry.card.artwork.id for entry in entries]
        if listing.shelf is Shelf.HOT:
            scores = {entry.card.artwork.id: entry.value for entry in entries}
            await self._models.put_ranking(RANKING, scores, epoch)
        else:
            await self._models.put_list(_key_of(listing), ids, epoch)
        return entries

    async def _page_of_rows(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[ListEntry, ...]:
        return await self._database.read(_entries, select_page(listing, viewer_id, limit, after, skip))


def _entries(transaction: Transaction, page: Select[Any]) -> tuple[ListEntry, ...]:
    return tuple([ListEntry(to_card(row), row["mark"]) for row in transaction.execute(page).mappings()])


def _favorites(transaction: Transaction, user_id: str) -> tuple[str, ...]:
    """Ids of a user's favourites, the latest first."""
    mine = select(artwork_favorite.c.artwork_id).where(artwork_favorite.c.user_id == user_id)
    latest = mine.order_by(artwork_favorite.c.create_ms.desc(), artwork_favorite.c.artwork_id.desc())
    return tuple(transaction.scalars(latest.limit(SET_DEPTH)))


def select_page(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    """A page of a list: its ids by ranges of an index, then their cards; `mark` is the value it is ordered by."""
    chosen = (_of_window if listing.ages else _of_range)(listing, viewer_id, limit, after, skip).subquery()
    found = select_cards(viewer_id).join(chosen, chosen.c.artwork_id == artwork.c.id).add_columns(chosen.c.mark)
    return found.order_by(chosen.c.mark.desc(), chosen.c.artwork_id.desc())


def _of_range(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    wanted, value, key = _range(listing, viewer_id)
    if after:
        wanted = wanted.where(tuple_(value, key) < _behind(after, value))
    return wanted.order_by(value.desc(), key.desc()).limit(limit).offset(skip)


def _of_window(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    """One range of an index for each age class, merged: one range alone would read through the hottest of all times.

    Artworks that have left a class, but whose score decay is late, are excluded by their time.
    """
    ranges = []
    for number in range(listing.ages):
        # Written out: for a value it does not know, PostgreSQL plans as if it were common.
        aged = artwork.c.age_class == literal_column(str(number))
        ranges.append(_of_range(listing, viewer_id, skip + limit, after, 0).where(aged).subquery())
    merged = union_all(*(select(each.c.artwork_id, each.c.mark) for each in ranges)).subquery()
    columns = select(merged.c.artwork_id, merged.c.mark)
    return columns.order_by(merged.c.mark.desc(), merged.c.artwork_id.desc()).limit(limit).offset(skip)


def _range(listing: Listing, viewer_id: str) -> tuple[Select[Any], ColumnElement[Any], Column[Any]]:
    relation = RELATIONS.get(listing.shelf)
    if relation is not None:
        return _of_relation(relation, listing, viewer_id), relation.c.create_ms, relation.c.artwork_id
    value = ORDERED_BY[listing.shelf]
    wanted = select(artwork.c.id.label("artwork_id"), value.label("mark"))
    return wanted.where(*_conditions(listing)), value, artwork.c.id


def _behind(after: After, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The bounds in the column's own type: PostgreSQL uses no index to compare an integer with a float."""
    bound = int(after[0]) if isinstance(value.type, BigInteger) else after[0]
    return tuple_(literal(bound, value.type), literal(after[1]))


def _of_relation(relation: Table, listing: Listing, viewer_id: str) -> Select[Any]:
    wanted = select(relation.c.artwork_id, relation.c.create_ms.label("mark"))
    wanted = wanted.join(artwork, artwork.c.id == relation.c.artwork_id)
    visible = or_(LISTED, artwork.c.user_id == viewer_id)
    return wanted.where(relation.c.user_id == listing.user_id, visible)


def _conditions(listing: Listing) -> list[ColumnElement[bool]]:
    match listing.shelf:
        case Shelf.NEWEST:
            return [LISTED]
        case Shelf.HOT:
            return [LISTED, *_hot(listing)]
        case Shelf.AUTHOR:
            return [artwork.c.user_id == listing.user_id, LISTED]
        case Shelf.FINISHED:
            return [artwork.c.user_id == listing.user_id, artwork.c.state.in_((State.DRAFT, State.PUBLISHED))]
        case _:
            return [artwork.c.user_id == listing.user_id]


def _hot(listing: Listing) -> list[ColumnElement[bool]]:
    since = [artwork.c.publish_ms >= listing.since_ms] if listing.since_ms else []
    return [*since, artwork.c.hot_score >= listing.least_score] if listing.least_score else since
