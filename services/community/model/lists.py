"""Lists of artworks: their kinds, order and pages."""

from dataclasses import dataclass
from enum import StrEnum

from services.community.model.artworks import Card

After = tuple[float, str]
"""The sort value and the id of the last artwork of the page before."""


class Shelf(StrEnum):
    """The kind of a list: which artworks it holds and by what they are ordered."""

    NEWEST = "newest"
    """Published, by time of publication."""
    HOT = "hot"
    """Published, by score."""
    OWNER = "owner"
    """All artworks of a user, by id, which is by time."""
    FINISHED = "finished"
    """A user's drafts and published artworks, by id: without those that failed or are being made."""
    AUTHOR = "author"
    """A user's published artworks, by id."""
    FAVORITES = "favorites"
    """A user's favourites, by time of reaction."""
    LIKES = "likes"
    """A user's likes, by time of reaction."""


@dataclass(frozen=True)
class Listing:
    """A list: its kind, its user, and for HOT the least time and score.

    With a time, `ages` says how many age classes (hotness.AGES) reach back to it; 0 stands for all time.
    """

    shelf: Shelf
    user_id: str = ""
    since_ms: int = 0
    least_score: float = 0.0
    ages: int = 0


@dataclass(frozen=True)
class Mark:
    """A card with its sort value in the list."""

    card: Card
    value: float


@dataclass(frozen=True)
class ArtworkPage:
    """A page of a list; the token is empty at the end."""

    cards: tuple[Card, ...]
    next_token: str
