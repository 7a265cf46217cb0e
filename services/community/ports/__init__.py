"""The ports of the community; their docstrings are the contract of every adapter.

Every method of a store raises Unavailable when the database is away, and then nothing was changed.
"""

from collections.abc import Callable

from services.community.ports.artworks import ArtworkStore, BeingDeletedError, Lists
from services.community.ports.clients import Generations, Objects
from services.community.ports.orders import CreditsShortError, CreditStore, OrderStore
from services.community.ports.reactions import BudgetSpentError, ReactionStore
from services.community.ports.read_models import CachedMembers, ReadModels, Rebuilder
from services.community.ports.users import DeletionQueue, UserStore

__all__ = [
    "ArtworkStore", "BeingDeletedError", "BudgetSpentError", "CachedMembers", "Clock", "CreditStore",
    "CreditsShortError", "DeletionQueue", "Generations", "Lists", "Objects", "OrderStore", "ReactionStore",
    "ReadModels", "Rebuilder", "UserStore",
]  # fmt: skip

Clock = Callable[[], int]
"""Milliseconds since 1970."""
