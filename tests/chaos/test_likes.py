"""The short storm of likes; make chaos runs the long one."""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.likes import Wish, brew, schedule

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]  # a ceiling for a busy machine
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
KILLS = {"valkey": 2, "gateway": 1}


async def test_counts_are_rows_are_what_people_were_told_however_often_valkey_and_the_gateway_die(
    tmp_path: Path,
) -> None:
    report = await brew(tmp_path / "data", Wish(SEED, clients=16, operations=900, artworks=50, kills=KILLS))
    told = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert told["SIGKILLs"] == "gateway 1, valkey 2"
    assert told["operations"] == 900


@pytest.mark.parametrize("seed", list("abcdefghij"))
def test_a_seed_brings_the_same_kills_back_and_all_fall_before_the_end(seed: str) -> None:
    wish = Wish(seed, clients=16, operations=1000, artworks=50, kills=KILLS)
    planned = schedule(wish)

    assert schedule(wish) == planned == sorted(planned)
    assert sorted(name for _, name in planned) == ["gateway", "valkey", "valkey"]
    assert 0 < planned[0][0] < planned[-1][0] < wish.operations
