"""Which artworks a list holds, in which order, and where a page of it begins."""

from dataclasses import dataclass
from enum import StrEnum

from services.community.model.artworks import Card

After = tuple[float, str]
"""The order's value and the id of the last artwork of the page before."""


class Shelf(StrEnum):
    """What a list is ordered by, and so which artworks it is made of."""

    NEWEST = "newest"
    """Published, by time of publication."""
    HOT = "hot"
    """Published, by score."""
    OWNER = "owner"
    """All of one person's, by id, which is by time."""
    FINISHED = "finished"
    """One person's drafts and published ones, by id: without those that failed or are being made."""
    AUTHOR = "author"
    """One person's published ones, by id."""
    FAVORITES = "favorites"
    """What one person has collected, by when."""
    LIKES = "likes"
    """What one person likes, by when."""


@dataclass(frozen=True)
class Listing:
    """A list: its shelf, whose it is, and for HOT from which time and score on.

    With a time, `ages` says how many age classes (hotness.AGES) reach back to it; 0 stands for all time.
    """

    shelf: Shelf
    user_id: str = ""
    since_ms: int = 0
    least_score: float = 0.0
    ages: int = 0


@dataclass(frozen=True)
class Mark:
    """A card, and the value by which its list is ordered."""

    card: Card
    value: float


@dataclass(frozen=True)
class Page:
    """Part of a list; the token is empty at the end."""

    cards: tuple[Card, ...]
    next_token: str
