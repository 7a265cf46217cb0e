"""The model of the community: frozen dataclasses and enums, without protobuf and SQL."""

from services.community.model.artworks import (
    Action,
    After,
    Artwork,
    ArtworkPage,
    Card,
    Drift,
    HiddenMark,
    Listing,
    Mark,
    NewArtwork,
    Reacted,
    Reaction,
    Shelf,
    State,
)
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
from services.community.model.users import (
    Balance,
    CheckIn,
    Claims,
    DeletionKind,
    DeletionState,
    Entry,
    EntryKind,
    Erasure,
    QueuedDeletion,
    Report,
    User,
)

__all__ = [
    "Action", "After", "Artwork", "ArtworkPage", "Balance", "Card", "CheckIn", "Claims", "DeletionKind",
    "DeletionState", "Drift", "Entry", "EntryKind", "Erasure", "GenerationStatus", "HiddenMark", "Hold", "Listing",
    "Mark", "NewArtwork", "Order", "OrderState", "QueuedDeletion", "Quota", "Reacted", "Reaction", "Refused", "Report",
    "Request", "Shelf", "State", "Unclear", "UnreadableEvent", "User",
]  # fmt: skip
