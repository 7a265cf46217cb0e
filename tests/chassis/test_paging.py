"""Page sizes are bounded, tokens lead on within their own list only, and a page fits into one message."""

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.paging import (
    MAX_PAGE_BYTES,
    PageTokens,
    digest_of,
    fitting,
    number_token,
    page_of,
    page_size,
    sequence_of,
)


def position(first: str, second: str) -> tuple[int, str]:
    return int(first), second


TOKENS = (
    PageTokens(position),
    PageTokens(position, separator=":", check=digest_of),
    PageTokens(position, check=digest_of, check_last=True),
)


def test_a_page_has_fifty_unless_asked_and_never_more_than_a_thousand() -> None:
    assert [page_size(asked, 50, 1000) for asked in (0, 7, 1000, 1001, 2**31 - 1)] == [50, 7, 1000, 1000, 1000]
    with pytest.raises(InvalidArgument):
        page_size(-1, 50, 1000)


@pytest.mark.parametrize("tokens", TOKENS)
def test_a_token_comes_back_as_its_position_in_its_own_list_only(tokens: PageTokens[tuple[int, str]]) -> None:
    token = tokens.token(b"one list", "5", f"a{tokens.separator}b")

    assert tokens.position(b"one list", token) == (5, f"a{tokens.separator}b")
    assert tokens.position(b"one list", "") is None
    with pytest.raises(InvalidArgument) as caught:
        tokens.position(b"another list", token)
    assert caught.value.reason == "INVALID_PAGE_TOKEN"
    assert caught.value.metadata == {"field": "page_token"}


@pytest.mark.parametrize("tokens", TOKENS)
def test_a_token_with_fields_that_cannot_be_read_is_refused(tokens: PageTokens[tuple[int, str]]) -> None:
    for token in (tokens.token(b"one list", "five", "a"), "é", "!!!!", "x", "_w==", "fA==", "Og=="):
        with pytest.raises(InvalidArgument):
            tokens.position(b"one list", token)


def test_a_number_token_leads_on_within_its_own_list_only() -> None:
    token = number_token("all", 7)

    assert token.isdigit()
    assert sequence_of("all", token) == 7
    assert sequence_of("all", "") is None
    for foreign in (number_token("some", 7), "x", "1", "-700000", f"{token}0", f"{token}\n"):
        with pytest.raises(InvalidArgument):
            sequence_of("all", foreign)


def test_a_page_ends_where_a_message_is_full_but_has_an_entry_at_least() -> None:
    half = MAX_PAGE_BYTES // 2

    assert fitting([half, half, 1], int) == (half, half)
    assert fitting([2 * MAX_PAGE_BYTES, 1], int) == (2 * MAX_PAGE_BYTES,)
    assert fitting([], int) == ()


def test_the_last_entry_of_a_page_is_named_only_when_others_follow() -> None:
    assert page_of([1, 2, 3], 2, int) == ((1, 2), 2)
    assert page_of([1, 2], 2, int) == ((1, 2), None)
    assert page_of([MAX_PAGE_BYTES, 1], 2, int) == ((MAX_PAGE_BYTES,), MAX_PAGE_BYTES)
    assert page_of([], 2, int) == ((), None)
