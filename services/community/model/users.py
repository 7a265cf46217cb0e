"""Users and what belongs to them: credits and check-ins, reports, receipts of erasures, and the deletion queue."""

from dataclasses import dataclass, field
from enum import StrEnum

DELETIONS = "deletions"  # the lease loop of the deletion queue, whose work may be parked


@dataclass(frozen=True)
class Claims:
    """The claims of a verified token; empty where it has none."""

    display_name: str = ""
    email: str = ""
    picture_uri: str = ""


@dataclass(frozen=True)
class User:
    """A user; the id is the token's subject. Times are epoch ms."""

    id: str
    display_name: str = ""
    email: str = ""
    picture_uri: str = ""
    hide_name: bool = False
    hide_email: bool = True
    create_ms: int = 0
    update_ms: int = 0


@dataclass(frozen=True)
class Report:
    """A user's report about an artwork."""

    artwork_id: str
    user_id: str
    reason: str
    hidden: bool = False
    create_ms: int = 0


@dataclass(frozen=True)
class Erasure:
    """The receipt of an erasure: counts without personal data."""

    id: str
    artwork_count: int = 0
    like_count: int = 0
    favorite_count: int = 0
    object_count: int = 0
    remaining_count: int = 0
    create_ms: int = 0


class EntryKind(StrEnum):
    """Why a balance changed."""

    GRANT = "GRANT"
    CHECKIN = "CHECKIN"
    HOLD = "HOLD"
    CAPTURE = "CAPTURE"
    RELEASE = "RELEASE"


@dataclass(frozen=True)
class Balance:
    """Credits to spend, and those held for artworks that are being made."""

    credits: int = 0
    held: int = 0


@dataclass(frozen=True)
class Entry:
    """An entry of the ledger; the amount is the change of the spendable credits."""

    kind: EntryKind
    amount: int
    create_ms: int = 0


@dataclass(frozen=True)
class CheckIn:
    """A user's last check-in. Days count from 1970-01-01 in Japan; -1 when there was none."""

    day: int = -1
    streak: int = 0
    total: int = 0


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
    """No service was asked yet: the object's owner may refer to it again, which takes it out of the queue."""
    DELETING = "DELETING"
    """The other service is being asked, or was asked and has not answered: the key is never referred to again."""
    DELETED = "DELETED"
    """The object is gone. The entry stays for a while, for callers who still hold the key."""


@dataclass(frozen=True)
class QueuedDeletion:
    """An entry of the deletion queue that is due."""

    kind: DeletionKind
    key: str
    faults: int = field(default=0, compare=False)
    """How often in a row its deletion had failed when it was claimed."""

    @property
    def id(self) -> str:
        """The key, by which failures are counted."""
        return self.key
