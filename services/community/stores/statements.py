"""The SQL of cards and lists: a page is one query, however many artworks there are."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from services.community.model import After, Artwork, Listing, Order, Shelf, State, User
from services.community.stores.tables import artwork, artwork_favorite, artwork_like, artwork_order, person

LABELLED: tuple[tuple[Table, str, type[Artwork | User | Order]], ...] = (
    (artwork, "artwork_", Artwork),
    (person, "person_", User),
    (artwork_order, "order_", Order),
)
COLUMNS = tuple(
    table.c[name].label(prefix + name) for table, prefix, kind in LABELLED for name in kind.__dataclass_fields__
)
RELATIONS = {Shelf.FAVORITES: artwork_favorite, Shelf.LIKES: artwork_like}
CURRENT = artwork_order.c.id == artwork.c.order_id
LISTED = artwork.c.listed == true()
NAMED = artwork_order.c.artwork_id == artwork.c.id


def cards(viewer_id: str, order: ColumnElement[bool] = CURRENT) -> Select[Any]:
    """Artworks with their author, an order and the viewer's reactions."""
    mine_liked = and_(artwork_like.c.artwork_id == artwork.c.id, artwork_like.c.user_id == viewer_id)
    mine_kept = and_(artwork_favorite.c.artwork_id == artwork.c.id, artwork_favorite.c.user_id == viewer_id)
    source = (
        artwork.join(person, person.c.id == artwork.c.user_id)
        .outerjoin(artwork_order, order)
        .outerjoin(artwork_like, mine_liked)
        .outerjoin(artwork_favorite, mine_kept)
    )
    liked, favorited = artwork_like.c.create_ms.label("liked"), artwork_favorite.c.create_ms.label("favorited")
    return select(*COLUMNS, liked, favorited).select_from(source)


def by_any_id(identifier: str, viewer_id: str) -> Select[Any]:
    """The artwork that was ordered under a generation's or a provider's id, with that order."""
    named = or_(artwork_order.c.generation_id == identifier, artwork_order.c.task_id == identifier)
    return cards(viewer_id, NAMED).where(named).order_by(artwork_order.c.create_ms.desc()).limit(1)


def page(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    """A page of a list: its ids by ranges of an index, then their cards; `mark` is the value it is ordered by."""
    chosen = (_of_window if listing.ages else _of_range)(listing, viewer_id, limit, after, skip).subquery()
    found = cards(viewer_id).join(chosen, chosen.c.artwork_id == artwork.c.id).add_columns(chosen.c.mark)
    return found.order_by(chosen.c.mark.desc(), chosen.c.artwork_id.desc())


def _of_range(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    wanted, value, key = _range(listing, viewer_id)
    if after:
        wanted = wanted.where(tuple_(value, key) < _behind(after, value))
    return wanted.order_by(value.desc(), key.desc()).limit(limit).offset(skip)


def _of_window(listing: Listing, viewer_id: str, limit: int, after: After | None, skip: int) -> Select[Any]:
    """One range of an index for each age class, merged: else the hottest of all times were sought through for them.

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
    value = VALUES[listing.shelf]
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


VALUES: dict[Shelf, ColumnElement[Any]] = {
    Shelf.NEWEST: artwork.c.publish_ms,
    Shelf.HOT: artwork.c.hot_score,
    Shelf.OWNER: artwork.c.create_ms,
    Shelf.FINISHED: artwork.c.create_ms,
    Shelf.AUTHOR: artwork.c.create_ms,
}
