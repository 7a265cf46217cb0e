"""An entry of the deletion queue: what is to be deleted, by whom, and how far its deletion has come."""

from dataclasses import dataclass
from enum import StrEnum


class DeletionKind(StrEnum):
    """What an entry names, and so which service deletes it."""

    OBJECT = "OBJECT"
    """The key of an object in storage."""
    GENERATION = "GENERATION"
    """The id of a generation whose prompt and input pictures are to be forgotten."""
    ORDER = "ORDER"
    """The id of an order whose generation is not known here: if it has made one, that is to be forgotten."""


class DeletionState(StrEnum):
    """How far a deletion has come."""

    WAITING = "WAITING"
    """Nobody has been asked yet: the object's owner may refer to it again, which takes it out of the queue."""
    DELETING = "DELETING"
    """The other service is being asked, or was asked and has not answered: the key is never referred to again."""
    DELETED = "DELETED"
    """The object is gone. The entry stays for a while, so that whoever was told of the key before finds that out."""


@dataclass(frozen=True)
class QueuedDeletion:
    """An entry of the deletion queue that is due."""

    kind: DeletionKind
    key: str

    @property
    def id(self) -> str:
        """The key, by which failures are counted."""
        return self.key
