"""Converts between rows and the model."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from services.community.model import Artwork, Card, HiddenMark, Hold, Order, OrderState, Request, State, User
from services.community.model.hotness import AGES, NEVER_MS, DecayedScore


def artwork_row(artwork: Artwork) -> dict[str, Any]:
    """Every column of a new artwork."""
    return asdict(artwork) | {
        "image_refs": json.dumps(artwork.image_refs),
        "listed": artwork.listed,
        **heat_columns(
            DecayedScore(artwork.hot_score, 0, artwork.publish_ms + AGES[0] + 1 if artwork.publish_ms else NEVER_MS)
        ),
    }


def heat_columns(decayed_score: DecayedScore) -> dict[str, Any]:
    """The columns that age changes."""
    return {"hot_score": decayed_score.score, "age_class": decayed_score.age_class, "hot_due_ms": decayed_score.due_ms}


def order_row(order: Order) -> dict[str, Any]:
    """Every column of an order but due_ms; unique ids that are absent are NULL."""
    request = json.dumps(asdict(order.request), ensure_ascii=False)
    unique = {"generation_id": order.generation_id or None, "request_key": order.request_key or None}
    subjects = json.dumps(order.quota_subjects) if order.quota_subjects else None
    return asdict(order) | {"request": request, "quota_subjects": subjects} | unique


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
    values = {name: row[prefix + name] for name in Order.__dataclass_fields__}
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
        }
    )


def to_user(row: RowMapping, prefix: str = "") -> User:
    """The user of a row."""
    return User(**{name: row[prefix + name] for name in User.__dataclass_fields__})


def to_card(row: RowMapping) -> Card:
    """The card of a row of statements.cards."""
    return Card(
        artwork=to_artwork(row, "artwork_"),
        author=to_user(row, "person_"),
        order=to_order(row, "order_"),
        liked=row["liked"] is not None,
        favorited=row["favorited"] is not None,
    )
