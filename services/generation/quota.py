"""How much one caller may order in a day: whom an order counts for, where they stand, and when the day ends.

The day is Japan's, where the site that this follows lives (contract.md A0): UTC+9 all year, without summer time.
"""

from dataclasses import dataclass

DAY_MS = 86_400_000
JAPAN_MS = 9 * 3_600_000


@dataclass(frozen=True)
class Charge:
    """Whom an order counts for, and how many that may order in a day."""

    subject: str
    limit: int


@dataclass(frozen=True)
class Quota:
    """Where somebody stands: orders a day, orders left today, and seconds until the next day."""

    limit: int
    remaining: int
    reset_seconds: float


def day_of(now_ms: int) -> int:
    """The number of the day at a moment, counted from 1970."""
    return (now_ms + JAPAN_MS) // DAY_MS


def seconds_left(now_ms: int) -> float:
    """How long until the next day begins."""
    return (DAY_MS - (now_ms + JAPAN_MS) % DAY_MS) / 1000
