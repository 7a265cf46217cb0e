"""The nouns of the community; plain values that know no wire and no database."""

from services.community.model.artworks import Artwork, Card, Draft, HiddenMark, State
from services.community.model.credits import Balance, CheckIn, Entry, EntryKind
from services.community.model.deletion import Deletion, DeletionKind, DeletionState
from services.community.model.lists import After, Listing, Mark, Page, Shelf
from services.community.model.orders import Hold, Order, OrderState, Quota, Refused, Request, Told, Unclear, Unread
from services.community.model.people import Claims, Erasure, Person, Report
from services.community.model.reactions import Action, Drift, Reacted, Reaction

__all__ = [
    "Action", "After", "Artwork", "Balance", "Card", "CheckIn", "Claims", "Deletion", "DeletionKind", "DeletionState",
    "Draft", "Drift", "Entry", "EntryKind", "Erasure", "HiddenMark", "Hold", "Listing", "Mark", "Order", "OrderState",
    "Page", "Person", "Quota", "Reacted", "Reaction", "Refused", "Report", "Request", "Shelf", "State", "Told",
    "Unclear", "Unread",
]  # fmt: skip
