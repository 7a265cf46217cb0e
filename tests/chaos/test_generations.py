"""Short runs on each engine: orders under kills, and no promise is broken; make chaos runs the long ones."""

import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import dropped_answers
from tests.chaos.generations import Goal, run
from tests.support.postgres import Postgres

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine

SECONDS = 600.0  # a ceiling too: the run ends with its last order and its last kill
SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)


async def assert_promises_kept(folder: Path, goal: Goal, database_url: str = "") -> None:
    """Run; a failure shows the report with the seed that replays it."""
    report = await run(folder / "stack", goal, database_url)
    rows: dict[str, Any] = dict(report.rows)

    assert not any(report.broken.values()), f"CHAOS_SEED={SEED}\n{report}"
    assert rows["accepted"] + rows["refused for good"] == rows["orders offered"] >= goal.generations
    assert rows["SIGKILLs"] >= goal.kills
    assert rows["drain, s"] != "not settled", f"CHAOS_SEED={SEED}\n{report}"


async def test_kills_lose_nothing_and_bill_nothing_twice(tmp_path: Path) -> None:
    await assert_promises_kept(tmp_path, Goal(SEED, generations=80, kills=20, seconds=SECONDS))


async def test_two_generations_on_postgresql_lose_nothing_and_bill_nothing_twice(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    goal = Goal(SEED, generations=40, kills=10, seconds=SECONDS)
    await assert_promises_kept(tmp_path, goal, postgres_server.create_database())


async def test_every_answer_that_is_dropped_on_purpose_is_named(tmp_path: Path) -> None:
    """A quarter of the provider's definite answers is dropped without a log line, while processes are killed too."""
    goal = Goal(SEED, generations=48, kills=12, seconds=SECONDS)

    report = await run(tmp_path / "stack", goal, settings={dropped_answers.SHARE: "0.25"})

    dropped = dropped_answers.dropped(tmp_path / "stack")
    named = {sentence.split()[0] for sentence in report.broken["certain answers thrown away"]}
    assert dropped, f"CHAOS_SEED={SEED}\n{report}"
    assert dropped == named, f"CHAOS_SEED={SEED}\n{report}"
