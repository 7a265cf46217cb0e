"""The short storm on each engine: orders under kills, and not one promise broken."""

import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import sabotage
from tests.chaos.storm import Wish, brew
from tests.engines import EngineMissingError, postgres

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine

SECONDS = 600.0  # a ceiling too: the storm ends with its last order and its last kill
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)


async def judged(folder: Path, wish: Wish, database_url: str = "") -> None:
    """Brew a storm; whatever it breaks is told with the seed that brings it back."""
    report = await brew(folder / "stack", wish, database_url)
    told: dict[str, Any] = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert told["accepted"] + told["refused for good"] == told["orders offered"] >= wish.generations
    assert told["SIGKILLs"] >= wish.kills
    assert told["drain, s"] != "not settled", f"CHAOS_SEED={SEED}\n{report}"


async def test_a_storm_loses_nothing_and_bills_nothing_twice(tmp_path: Path) -> None:
    await judged(tmp_path, Wish(SEED, generations=80, kills=20, seconds=SECONDS))


async def test_two_generations_on_postgresql_lose_nothing_and_bill_nothing_twice(tmp_path: Path) -> None:
    try:
        with postgres() as server:
            await judged(tmp_path, Wish(SEED, generations=40, kills=10, seconds=SECONDS), server.create_database())
    except EngineMissingError as missing:
        pytest.skip(str(missing))


async def test_every_answer_that_is_thrown_away_on_purpose_is_named(tmp_path: Path) -> None:
    """A quarter of the provider's certain answers are dropped without a word, while processes are killed as ever."""
    wish = Wish(SEED, generations=48, kills=12, seconds=SECONDS)

    report = await brew(tmp_path / "stack", wish, settings={sabotage.SHARE: "0.25"})

    dropped = sabotage.thrown_away(tmp_path / "stack")
    named = {sentence.split()[0] for sentence in report.broken["certain answers thrown away"]}
    assert dropped, f"CHAOS_SEED={SEED}\n{report}"
    assert dropped == named, f"CHAOS_SEED={SEED}\n{report}"
