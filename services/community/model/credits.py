"""Credits: balances, ledger entries and check-ins."""

from dataclasses import dataclass
from enum import StrEnum


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
