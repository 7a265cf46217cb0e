"""Rows of artworks, orders and users, and how they become the model; a card is one row, joined from five tables."""

import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    Table,
    and_,
    select,
    true,
)

from services.community.model import (
    Artwork,
    Card,
    HiddenMark,
    Hold,
    Order,
    OrderState,
    Request,
    State,
    User,
)
from services.community.model.hotness import AGES, NEVER_MS, DecayedScore
from services.community.stores.tables import artwork, artwork_favorite, artwork_like, artwork_order, person

ORDER_COLUMNS = Order.__dataclass_fields__.keys() - {"faults"}  # which is no column but what a claim reads along
LABELLED: tuple[tuple[Table, str, Collection[str]], ...] = (
    (artwork, "artwork_", Artwork.__dataclass_fields__),
    (person, "person_", User.__dataclass_fields__),
    (artwork_order, "order_", ORDER_COLUMNS),
)
COLUMNS = tuple(table.c[name].label(prefix + name) for table, prefix, names in LABELLED for name in names)
CURRENT = artwork_order.c.id == artwork.c.order_id
LISTED = artwork.c.listed == true()


def artwork_row(given: Artwork) -> dict[str, Any]:
    """The values of every column of a new artwork."""
    return asdict(given) | {
        "image_refs": json.dumps(given.image_refs),
        "listed": given.listed,
        **heat_columns(
            DecayedScore(given.hot_score, 0, given.publish_ms + AGES[0] + 1 if given.publish_ms else NEVER_MS)
        ),
    }


def heat_columns(decayed_score: DecayedScore) -> dict[str, Any]:
    """The columns that age changes."""
    return {"hot_score": decayed_score.score, "age_class": decayed_score.age_class, "hot_due_ms": decayed_score.due_ms}


def order_row(order: Order) -> dict[str, Any]:
    """The values of every column of an order but due_ms; unique ids that are absent are NULL."""
    request = json.dumps(asdict(order.request), ensure_ascii=False)
    unique = {"generation_id": order.generation_id or None, "request_key": order.request_key or None}
    subjects = json.dumps(order.quota_subjects) if order.quota_subjects else None
    given = asdict(order) | {"request": request, "quota_subjects": subjects} | unique
    return {name: given[name] for name in ORDER_COLUMNS}


def to_artwork(row: RowMapping, prefix: str = "") -> Artwork:
    """The artwork of a row."""
    names = Artwork.__dataclass_fields__
    values = {name: row[prefix + name] for name in names}
    return Artwork(
        **values
        | {
            "state": State(values["state"]),
            "hidden": HiddenMark(values["hidden"]),
            "image_refs": tuple(json.loads(values["image_refs"])),
        }
    )


def to_order(row: RowMapping, prefix: str = "") -> Order | None:
    """The order of a row; None when an outer join found none."""
    values = {name: row[prefix + name] for name in ORDER_COLUMNS}
    if values["id"] is None:
        return None
    request = json.loads(values["request"])
    return Order(
        **values
        | {
            "state": OrderState(values["state"]),
            "hold": Hold(values["hold"]),
            "generation_id": values["generation_id"] or "",
            "request_key": values["request_key"] or "",
            "request_digest": values["request_digest"] or "",
            "quota_subjects": tuple(json.loads(values["quota_subjects"] or "[]")),
            "request": Request(**request | {"image_refs": tuple(request["image_refs"])}),
            "faults": row.get("faults", 0),
        }
    )


def to_user(row: RowMapping, prefix: str = "") -> User:
    """The user of a row."""
    return User(**{name: row[prefix + name] for name in User.__dataclass_fields__})


def to_card(row: RowMapping) -> Card:
    """The card in a row of select_cards."""
    return Card(
        artwork=to_artwork(row, "artwork_"),
        author=to_user(row, "person_"),
        order=to_order(row, "order_"),
        liked=row["liked"] is not None,
        favorited=row["favorited"] is not None,
    )


def select_cards(viewer_id: str, order: ColumnElement[bool] = CURRENT) -> Select[Any]:
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
