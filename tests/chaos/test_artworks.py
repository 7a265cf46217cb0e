"""A short run of artworks under kills; make chaos runs the long one."""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.artworks import Goal, run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
SECONDS = 300.0  # a ceiling too


async def test_each_artwork_ends_with_its_picture_or_a_reason_and_no_credit_stays_held(tmp_path: Path) -> None:
    report = await run(tmp_path / "stack", Goal(SEED, artworks=40, kills=12, seconds=SECONDS))
    rows = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert "not settled" not in rows.values(), f"CHAOS_SEED={SEED}\n{report}"
    assert rows["credits captured, held"] == (3 * int(str(rows["orders SUCCEEDED"])), 0)
