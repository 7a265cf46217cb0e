"""A kill at every failpoint, and a sample of errors and hangs: each time the town is whole again soon."""

import os
import random
import secrets
from pathlib import Path

import pytest

from tests.chaos import matrix

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
SAMPLE = 5  # of errors and hangs; make chaos strikes all


async def test_the_town_is_whole_again_after_a_fault_at_any_point(tmp_path: Path) -> None:
    sample = random.Random(SEED).sample(matrix.cells("error", "hang"), SAMPLE)
    wanted = [*matrix.cells("kill"), *sample]
    await matrix.run(tmp_path, SEED, wanted)

    failed = [str(cell) for cell in wanted if not cell.passed]
    assert not failed, "\n".join([f"CHAOS_SEED={SEED}", *failed])
