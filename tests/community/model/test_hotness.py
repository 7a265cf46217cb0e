"""The one formula, against its table (docs/rest.md#hotness)."""

import pytest

from services.community.model.hotness import AGES, DAY_MS, FLOOR, HOUR_MS, NEVER_MS, decay, decayed_score, level

BORN = 1_700_000_000_000


@pytest.mark.parametrize(
    ("age", "left"),
    [
        (0, 1.0),
        (HOUR_MS, 0.95),
        (6 * HOUR_MS, 0.735),
        (12 * HOUR_MS, 0.540),
        (23 * HOUR_MS, 0.307),
        (24 * HOUR_MS, 0.234),
        (48 * HOUR_MS, 0.187),
        (7 * DAY_MS, 0.061),
        (10 * DAY_MS, 0.028),
        (400 * DAY_MS, FLOOR),
        (-DAY_MS, 1.0),
    ],
)
def test_age_wears_a_score_down_as_the_table_says(age: int, left: float) -> None:
    assert decay(age) == pytest.approx(left, abs=0.0006)


def test_a_favourite_weighs_two_likes() -> None:
    assert decayed_score(3, 2, BORN, BORN).score == 7
    assert decayed_score(3, 2, BORN, BORN + HOUR_MS).score == pytest.approx(7 * 0.95)


@pytest.mark.parametrize(("age", "step"), [(0, HOUR_MS), (23 * HOUR_MS + 5, HOUR_MS - 5), (2 * DAY_MS + 7, DAY_MS - 7)])
def test_a_score_stands_still_until_its_next_step(age: int, step: int) -> None:
    now = decayed_score(5, 0, BORN, BORN + age)

    assert now.due_ms == BORN + age + step
    assert decayed_score(5, 0, BORN, now.due_ms - 1).score == now.score
    assert decayed_score(5, 0, BORN, now.due_ms).score < now.score


def test_what_nobody_likes_and_what_is_worn_down_is_worked_out_only_when_a_window_ends() -> None:
    last = BORN + AGES[-1] + 1

    assert decayed_score(0, 0, BORN, BORN).due_ms == BORN + AGES[0] + 1
    assert decayed_score(9, 9, BORN, last - 1).due_ms == last
    assert decayed_score(0, 0, BORN, last).due_ms == decayed_score(9, 9, BORN, last).due_ms == NEVER_MS


@pytest.mark.parametrize("window", AGES)
def test_an_age_class_ends_with_its_window(window: int) -> None:
    within, behind = decayed_score(0, 0, BORN, BORN + window), decayed_score(0, 0, BORN, BORN + window + 1)

    assert AGES[within.age_class] == window
    assert behind.age_class == within.age_class + 1
    assert within.due_ms == BORN + window + 1


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (100.1, "viral"),
        (100, "hot"),
        (50.5, "hot"),
        (21, "rising"),
        (11, "active"),
        (6, "watch"),
        (5, "new"),
        (0, "new"),
    ],
)
def test_each_level_begins_above_its_bound(score: float, word: str) -> None:
    assert level(score) == word
