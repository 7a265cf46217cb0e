"""Some failpoints, each with one action: the stack converges; make chaos runs all of them."""

import os
import random
import secrets
from pathlib import Path

import pytest

from tests.chaos import failpoint_matrix
from tests.chaos.failpoints import SERVICE_OF

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
SAMPLE = 6  # about half a minute
STACKS = 3


async def test_the_stack_converges_after_a_fault_at_any_failpoint(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    points = rng.sample(list(SERVICE_OF), SAMPLE)
    wanted = [failpoint_matrix.Cell(point, rng.choice(failpoint_matrix.ACTIONS), SERVICE_OF[point]) for point in points]
    await failpoint_matrix.run(tmp_path, SEED, wanted, STACKS)

    failed = [str(cell) for cell in wanted if not cell.converged]
    assert not failed, "\n".join([f"CHAOS_SEED={SEED}", *failed])
