"""Page tokens that an earlier release handed out still lead on: pages are open in browsers."""

import pytest

from services.community.core import page_tokens
from services.community.model import Listing, Shelf


@pytest.mark.parametrize(
    ("binding", "value", "identifier", "token"),
    [
        (
            str(Listing(Shelf.HOT, "user_1", 1700000000000, 0.5, 3)),
            12.25,
            "art_01jx",
            "ODNjNTJiYTl8MTIuMjV8YXJ0XzAxang=",
        ),
        (str(Listing(Shelf.NEWEST)), 1700000000123, "art_01jx", "MjhlYTM3OGZ8MTcwMDAwMDAwMDEyM3xhcnRfMDFqeA=="),
        ("reports", 1700000000123, "art_1 auth0|7", "ZTQ0NDJjMDN8MTcwMDAwMDAwMDEyM3xhcnRfMSBhdXRoMHw3"),
    ],
)
def test_a_token_of_an_earlier_release_still_leads_on(binding: str, value: float, identifier: str, token: str) -> None:
    assert page_tokens.token(binding, value, identifier) == token
    assert page_tokens.after_of(binding, token) == (value, identifier)
