"""The formula of hotness: likes and favourites, decayed by age; and its levels and categories.

See docs/rest.md#hotness.

Age counts in whole hours and days, so a score is constant between two steps and can be kept in a column.
"""

from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum

LIKE_WEIGHT, FAVORITE_WEIGHT = 1, 2
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
AGES = (HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS)  # the windows of the trending list; each ends a class
FLOOR = 0.01  # the least factor of decay
NEVER_MS = 2**53  # never; numbers up to here are exact in SQL and in JSON
LEVELS = ((100, "viral"), (50, "hot"), (20, "rising"), (10, "active"), (5, "watch"))


class Category(IntEnum):
    """The least score of each category of the trending list."""

    ALL = 0
    RISING = 20
    HOT = 50
    VIRAL = 100


@dataclass(frozen=True)
class DecayedScore:
    """A hot score, its age class, and the time at which age changes either next."""

    score: float
    age_class: int
    due_ms: int


def decay(age_ms: int) -> float:
    """The factor by which age decays a score, 1 to 0.01."""
    hours, days = max(age_ms, 0) // HOUR_MS, max(age_ms, 0) // DAY_MS
    segment = 1.0 if days < 1 else 0.9**days if days < 7 else 0.7**days  # noqa: PLR2004 - the formula's own steps
    return max(FLOOR, min(0.8**days * 0.95 ** min(hours, 24), segment))


def age_class(age_ms: int) -> int:
    """The index of the least window of AGES that holds an age; len(AGES) beyond all of them."""
    return bisect_left(AGES, age_ms)


def decayed_score(likes: int, favorites: int, born_ms: int, now_ms: int) -> DecayedScore:
    """The score now and the time of its next decay; NEVER_MS once it is constant."""
    weight, age = likes * LIKE_WEIGHT + favorites * FAVORITE_WEIGHT, max(now_ms - born_ms, 0)
    left = decay(age)
    step = HOUR_MS if age < DAY_MS else DAY_MS
    due = born_ms + (age // step + 1) * step if weight and left > FLOOR else NEVER_MS
    at = age_class(age)
    next_class = born_ms + AGES[at] + 1 if at < len(AGES) else NEVER_MS
    return DecayedScore(weight * left, at, min(due, next_class))


def level(score: float) -> str:
    """The level of a score."""
    return next((word for least, word in LEVELS if score > least), "new")
