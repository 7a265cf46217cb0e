"""A short run of likes under kills; make chaos runs the long one."""

import os
import secrets
from pathlib import Path

import pytest

from tests.chaos.likes import Plan, run_likes, schedule

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]  # a ceiling for a busy machine
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
KILLS = {"valkey": 2, "gateway": 1}


async def test_counts_and_rows_are_what_clients_were_answered_however_often_valkey_and_the_gateway_are_killed(
    tmp_path: Path,
) -> None:
    report = await run_likes(tmp_path / "data", Plan(SEED, clients=16, operations=900, artworks=50, kills=KILLS))
    rows = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert rows["SIGKILLs"] == "gateway 1, valkey 2"
    assert rows["operations"] == 900


@pytest.mark.parametrize("seed", list("abcdefghij"))
def test_a_seed_brings_the_same_kills_back_all_of_them_before_the_end(seed: str) -> None:
    plan = Plan(seed, clients=16, operations=1000, artworks=50, kills=KILLS)
    planned = schedule(plan)

    assert schedule(plan) == planned == sorted(planned)
    assert sorted(name for _, name in planned) == ["gateway", "valkey", "valkey"]
    assert 0 < planned[0][0] < planned[-1][0] < plan.operations
