"""What the community needs from the outside; the docstrings are the contract that every adapter keeps.

Every method of a store raises Unavailable when the database is away, and then nothing was changed.
"""

from collections.abc import Callable

from services.community.ports.neighbours import Generations, Objects
from services.community.ports.orders import CreditsShortError, CreditStore, OrderStore
from services.community.ports.people import Bin, PeopleStore
from services.community.ports.reactions import BudgetSpentError, ReactionStore
from services.community.ports.read_models import Look, ReadModels, Rebuilder
from services.community.ports.works import BeingDeletedError, Lists, WorkStore

__all__ = [
    "BeingDeletedError", "Bin", "BudgetSpentError", "Clock", "CreditStore", "CreditsShortError", "Generations", "Lists",
    "Look", "Objects", "OrderStore", "PeopleStore", "ReactionStore", "ReadModels", "Rebuilder", "WorkStore",
]  # fmt: skip

Clock = Callable[[], int]
"""Milliseconds since 1970."""
