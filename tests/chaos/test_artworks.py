"""The short storm over the community; make chaos runs the long one."""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.artworks import Wish, brew

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
SECONDS = 300.0  # a ceiling too


async def test_each_artwork_ends_with_its_picture_or_a_reason_and_no_credit_stays_held(tmp_path: Path) -> None:
    report = await brew(tmp_path / "stack", Wish(SEED, artworks=40, kills=12, seconds=SECONDS))
    told = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert "not settled" not in told.values(), f"CHAOS_SEED={SEED}\n{report}"
    assert told["credits captured, held"] == (3 * int(str(told["orders SUCCEEDED"])), 0)
