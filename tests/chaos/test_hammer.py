"""The short hammer: bad webhooks move nothing, good ones count once; make chaos runs the long one."""

from pathlib import Path

import pytest

from tests.chaos import hammer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]  # a ceiling for a busy machine


async def test_bad_webhooks_change_no_row_and_repeated_good_ones_have_one_effect(tmp_path: Path) -> None:
    table = await hammer.run(tmp_path, "short", bad=2000, honest=200)

    assert hammer.faultless(table, bad=2000, honest=200), table
