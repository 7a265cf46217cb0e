"""The state machine has no way that could bill twice, and no end that can be undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.model import FINAL, MOVES, UNANSWERED, UNDECIDED, UNSENT, Output, State

SENT = frozenset(State) - UNSENT - {State.CANCELED, State.EXPIRED}


def reachable(start: State) -> set[State]:
    """Every state that some row of moves leads to."""
    seen, open_ = {start}, [start]
    while open_:
        fresh = MOVES[open_.pop()] - seen
        seen |= fresh
        open_ += fresh
    return seen


def test_every_state_has_its_row() -> None:
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("state", sorted(FINAL - {State.UNKNOWN}))
def test_an_end_has_no_exit(state: State) -> None:
    assert not MOVES[state]


def test_unknown_is_an_end_until_news_arrives() -> None:
    assert State.UNKNOWN in FINAL
    assert MOVES[State.UNKNOWN] <= {State.RUNNING, State.STORING, State.FAILED, State.CANCELED}


def test_only_a_refusal_leads_from_the_wire_back_to_ready() -> None:
    """A second submit may follow SENDING only where the provider's answer proves that it took nothing."""
    assert {state for state in SENT if State.READY in MOVES[state]} == {State.SENDING}


@pytest.mark.parametrize("state", sorted(SENT - {State.SENDING}))
def test_nothing_beyond_sending_is_ever_sent_again(state: State) -> None:
    assert not reachable(state) & (UNSENT | {State.SENDING})


def test_bytes_are_sent_only_after_sending_is_written() -> None:
    assert {state for state in State if State.SENDING in MOVES[state]} == {State.DIALING}


@pytest.mark.parametrize("state", sorted(State))
def test_every_generation_can_end(state: State) -> None:
    assert reachable(state) & FINAL


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_whatever_has_not_ended_can_be_canceled(state: State) -> None:
    assert State.CANCELED in MOVES[state]


def test_a_picture_is_shown_only_after_it_was_stored() -> None:
    assert {state for state in State if State.SUCCEEDED in MOVES[state]} == {State.STORING}


def test_the_groups_of_states_are_what_they_say() -> None:
    assert UNSENT < UNDECIDED
    assert not UNANSWERED & UNSENT
    assert not UNDECIDED & FINAL


@given(st.lists(st.integers(min_value=0, max_value=5), max_size=30))
def test_no_walk_sends_twice_without_a_refusal(choices: list[int]) -> None:
    state, sent, refused = State.READY, 0, 0
    for choice in choices:
        if not MOVES[state]:
            break
        following = sorted(MOVES[state])[choice % len(MOVES[state])]
        sent += following is State.SENDING
        refused += state is State.SENDING and following is State.READY
        state = following

    assert sent <= refused + 1


@pytest.mark.parametrize(
    ("output", "settled"),
    [
        (Output(0, "u"), False),
        (Output(0, "u", error="away"), False),
        (Output(0, "u", key="generated/a.png"), True),
        (Output(0, "u", lost=True), True),
    ],
)
def test_an_output_is_settled_when_it_is_stored_or_lost(*, output: Output, settled: bool) -> None:
    assert output.settled is settled
