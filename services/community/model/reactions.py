"""What people do about artworks, and how wrong the counts may be found."""

from dataclasses import dataclass
from enum import StrEnum


class Reaction(StrEnum):
    """What a person may think of an artwork."""

    LIKE = "like"
    FAVORITE = "favorite"


class Action(StrEnum):
    """What a person may do only so often in an hour."""

    LIKE = "like"
    FAVORITE = "favorite"
    REPORT = "report"


@dataclass(frozen=True)
class Reacted:
    """How an artwork and a person stand after a change, or after none."""

    artwork_id: str
    like_count: int = 0
    favorite_count: int = 0
    liked: bool = False
    favorited: bool = False
    hot_score: float = 0.0
    changed: bool = False


@dataclass(frozen=True)
class Drift:
    """How far the counts were from the rows: the sum of differences, and whose counts were wrong."""

    looked_at: int
    amount: int
    artwork_ids: tuple[str, ...]
