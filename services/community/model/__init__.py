"""The model of the community: frozen dataclasses and enums, without protobuf and SQL."""

from services.community.model.artworks import Artwork, Card, HiddenMark, NewArtwork, State
from services.community.model.credits import Balance, CheckIn, Entry, EntryKind
from services.community.model.deletion import DeletionKind, DeletionState, QueuedDeletion
from services.community.model.lists import After, ArtworkPage, Listing, Mark, Shelf
from services.community.model.orders import (
    GenerationStatus,
    Hold,
    Order,
    OrderState,
    Quota,
    Refused,
    Request,
    Unclear,
    UnreadableEvent,
)
from services.community.model.reactions import Action, Drift, Reacted, Reaction
from services.community.model.users import Claims, Erasure, Report, User

__all__ = [
    "Action", "After", "Artwork", "ArtworkPage", "Balance", "Card", "CheckIn", "Claims", "DeletionKind",
    "DeletionState", "Drift", "Entry", "EntryKind", "Erasure", "GenerationStatus", "HiddenMark", "Hold", "Listing",
    "Mark", "NewArtwork", "Order", "OrderState", "QueuedDeletion", "Quota", "Reacted", "Reaction", "Refused", "Report",
    "Request", "Shelf", "State", "Unclear", "UnreadableEvent", "User",
]  # fmt: skip
