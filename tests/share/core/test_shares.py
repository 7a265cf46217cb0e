"""Page tokens that an earlier release handed out still lead on, as pages are open in browsers; batches fit."""

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.paging import number_token, sequence_of
from services.share.core import validation
from services.share.model import Facet, Policy, View


@pytest.mark.parametrize(
    ("view", "token"),
    [(View(Policy.TEXT_TO_IMAGE), "1234550964"), (View(Policy.ALL, Facet.STYLE, "ink|é"), "1234552869")],
)
def test_a_token_of_an_earlier_release_still_leads_on(view: View, token: str) -> None:
    assert number_token(str(view), 12345) == token
    assert sequence_of(str(view), token) == 12345


def test_a_batch_that_does_not_fit_into_one_answer_is_refused_and_says_what_would() -> None:
    validation.weight(3, 3)

    with pytest.raises(InvalidArgument, match="at most 2 of them") as refused:
        validation.weight(2, 3)
    assert refused.value.metadata["field"] == "names"
