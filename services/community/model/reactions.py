"""Reactions to artworks, and the drift of their counts."""

from dataclasses import dataclass
from enum import StrEnum


class Reaction(StrEnum):
    """A kind of reaction to an artwork."""

    LIKE = "like"
    FAVORITE = "favorite"


class Action(StrEnum):
    """An action that is limited per hour."""

    LIKE = "like"
    FAVORITE = "favorite"
    REPORT = "report"


@dataclass(frozen=True)
class Reacted:
    """The counts of an artwork and the reactions of a user after a change, or after none."""

    artwork_id: str
    like_count: int = 0
    favorite_count: int = 0
    liked: bool = False
    favorited: bool = False
    hot_score: float = 0.0
    changed: bool = False


@dataclass(frozen=True)
class Drift:
    """The differences between counts and rows: their sum, and the artworks concerned."""

    looked_at: int
    amount: int
    artwork_ids: tuple[str, ...]
