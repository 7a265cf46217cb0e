"""Page tokens of the gallery that an earlier release handed out still lead on: pages are open in browsers."""

import pytest

from services.chassis.paging import number_token, sequence_of
from services.share.model import Facet, Policy, View


@pytest.mark.parametrize(
    ("view", "token"),
    [(View(Policy.TEXT_TO_IMAGE), "1234550964"), (View(Policy.ALL, Facet.STYLE, "ink|é"), "1234552869")],
)
def test_a_token_of_an_earlier_release_still_leads_on(view: View, token: str) -> None:
    assert number_token(str(view), 12345) == token
    assert sequence_of(str(view), token) == 12345
