"""The day of the site is Japan's, by the calendar."""

from datetime import datetime, timedelta, timezone

import pytest

from services.chassis.clock import DAY_MS, day_of, seconds_left

JAPAN = timezone(timedelta(hours=9))


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=JAPAN).timestamp() * 1000)  # type: ignore[misc, arg-type] # year to second


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ((2026, 11, 24, 0, 0, 0), 86_400.0),
        ((2026, 11, 24, 23, 59, 59), 1.0),
        ((2026, 11, 24, 9, 0, 0), 54_000.0),
        ((2024, 2, 29, 12, 0, 0), 43_200.0),
    ],
)
def test_a_day_ends_at_midnight_in_japan(moment: tuple[int, ...], seconds: float) -> None:
    assert seconds_left(at(*moment)) == seconds


def test_the_number_of_the_day_changes_at_midnight_and_only_then() -> None:
    midnight = at(2026, 11, 25, 0, 0, 0)

    assert day_of(midnight - 1) + 1 == day_of(midnight) == day_of(midnight + DAY_MS - 1)
