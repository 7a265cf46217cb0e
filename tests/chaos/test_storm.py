"""The short storm: two hundred orders, dozens of kills, and not one promise broken."""

import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.storm import Wish, brew

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)


async def test_a_storm_loses_nothing_and_bills_nothing_twice(tmp_path: Path) -> None:
    report = await brew(tmp_path / "town", Wish(SEED, generations=200, kills=50, seconds=60))

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    told: dict[str, Any] = dict(report.rows)
    assert told["accepted"] + told["refused for good"] == told["orders offered"] >= 200
    assert told["SIGKILLs"] >= 50
    assert told["drain, s"] != "not settled", f"CHAOS_SEED={SEED}\n{report}"
