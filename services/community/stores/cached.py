"""Lets first pages be read from the read models, and keeps those in step with what this process changes.

The rows are read all the same, by id: so a list may be stale, but what it shows is not, and nobody sees a draft.
"""

from collections.abc import Sequence
from typing import Any

from services.community.model import After, Listing, Mark, Reacted, Reaction, Shelf
from services.community.ports import Clock, ReactionStore, ReadModels, WorkStore

FEED, RANKING = "feed_queue", "hot_rank"
DEPTH = 200  # of a list: two of the longest pages
MOST_REMEMBERED = 10_000  # lists whose last change is known by name


def works_key(user_id: str) -> str:
    """The list of a person's published artworks."""
    return f"user:{user_id}:artworks"


def favorites_key(user_id: str) -> str:
    """The set of what a person has collected."""
    return f"user:{user_id}:favorites"


def likes_key(artwork_id: str) -> str:
    """The number of an artwork's likes."""
    return f"artwork:{artwork_id}:likes"
