"""Time as the services count it: milliseconds since 1970, and the day of the site, which is Japan's.

The day is Japan's, as on the site whose API this follows: UTC+9 all year, without summer time. See
docs/durable-core.md#daily-quotas.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
JAPAN_MS = 9 * HOUR_MS

Clock = Callable[[], int]
"""Gives milliseconds since 1970; an argument of what needs the time, so that tests can set it."""


def now_ms() -> int:
    """The clock of this process."""
    return time.time_ns() // 1_000_000


def day_of(now_ms: int) -> int:
    """The number of the day in Japan at a time in milliseconds, counted from 1970."""
    return (now_ms + JAPAN_MS) // DAY_MS


def seconds_left(now_ms: int) -> float:
    """Seconds until the next day in Japan begins."""
    return (DAY_MS - (now_ms + JAPAN_MS) % DAY_MS) / 1000


def date_of(day: int) -> str:
    """A day, counted from 1970, as YYYY-MM-DD; empty for days before 1970, which stand for none."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat() if day >= 0 else ""
