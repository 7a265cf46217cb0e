"""The short form of `make fuzz`: a few hundred cases made from the description, each answered as it promises."""

from pathlib import Path

import pytest

from tests.e2e.contract.fuzz import storm, wide_stack

pytestmark = pytest.mark.e2e
CASES, SEED = 300, 20261124


@pytest.mark.timeout(300)
def test_nothing_that_the_description_allows_or_forbids_is_a_5xx_or_no_json(tmp_path: Path) -> None:
    with wide_stack(tmp_path) as stack:
        figures = storm(stack, CASES, SEED)

    assert figures.failures == []
    assert figures.cases >= CASES
    assert max(figures.statuses) < 500
