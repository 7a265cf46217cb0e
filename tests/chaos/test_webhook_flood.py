"""A short flood: bad webhooks change nothing, good ones count once; make chaos runs the long one."""

from pathlib import Path

import pytest

from tests.chaos import webhook_flood

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]  # a ceiling for a busy machine


async def test_bad_webhooks_change_no_row_and_repeated_good_ones_have_one_effect(tmp_path: Path) -> None:
    table = await webhook_flood.run(tmp_path, "short", bad=2000, good_count=200)

    assert webhook_flood.as_promised(table, bad=2000, good_count=200), table
