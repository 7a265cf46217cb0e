"""What a refusal costs is one table: who rests, for how long, and what brings it back."""

import pytest

from services.generation.key_pool.cooldowns import (
    COOLDOWNS,
    MAX_REST_SECONDS,
    Back,
    Cooldown,
    Scope,
    cooldown_of,
    rest_seconds,
)
from services.generation.providers.replies import REFUSALS
from services.generation.timing import JITTER


@pytest.mark.parametrize(
    ("code", "row"),
    [
        (401, Cooldown(Scope.KEY, 180.0, Back.PROBE)),
        (402, Cooldown(Scope.ACCOUNT, 60.0, Back.BALANCE)),
        (429, Cooldown(Scope.ACCOUNT, 10.0, busy=True)),
        (430, Cooldown(Scope.ACCOUNT, 10.0, busy=True)),
        (433, Cooldown(Scope.KEY, 600.0)),
        (455, Cooldown(Scope.ACCOUNT, 120.0)),
        (505, Cooldown(Scope.MODEL, 300.0)),
        (550, Cooldown(Scope.ACCOUNT, 30.0, busy=True)),
    ],
)
def test_every_code_has_its_row(code: int, row: Cooldown) -> None:
    assert cooldown_of(code) == row


def test_every_refusal_that_the_classifier_knows_has_a_row() -> None:
    assert set(COOLDOWNS) == REFUSALS


def test_a_refusal_by_its_words_alone_is_about_call_frequency() -> None:
    assert cooldown_of(500) == COOLDOWNS[429]


@pytest.mark.parametrize("code", sorted(COOLDOWNS))
def test_a_rest_is_as_long_as_its_row_says_with_jitter(code: int) -> None:
    rests = [rest_seconds(code) / COOLDOWNS[code].seconds for _ in range(200)]

    assert 1 - JITTER <= min(rests) < max(rests) <= 1 + JITTER


def test_retry_after_is_obeyed_exactly_but_never_for_more_than_an_hour() -> None:
    assert rest_seconds(429, 3.5) == 3.5
    assert rest_seconds(429, 1e9) == MAX_REST_SECONDS == 3600


def test_strikes_lengthen_a_rest_up_to_an_hour() -> None:
    rests = [rest_seconds(401, strikes=strikes) for strikes in range(40)]

    assert rests[0] < rests[1] < rests[2] < rests[3]
    assert rests[5:] == [MAX_REST_SECONDS] * 35
