"""Some failpoints, each under another fault: the stack is whole again; make chaos strikes all of them."""

import os
import random
import secrets
from pathlib import Path

import pytest

from tests.chaos import matrix
from tests.chaos.points import SERVICE_OF

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]  # a ceiling for a busy machine

SEED = os.environ.get("CHAOS_SEED") or secrets.token_hex(4)
SAMPLE = 6  # about half a minute
STACKS = 3


async def test_the_stack_is_whole_again_after_a_fault_at_any_point(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    points = dice.sample(list(SERVICE_OF), SAMPLE)
    wanted = [matrix.Cell(point, dice.choice(matrix.ACTIONS)) for point in points]
    await matrix.run(tmp_path, SEED, wanted, STACKS)

    failed = [str(cell) for cell in wanted if not cell.converged]
    assert not failed, "\n".join([f"CHAOS_SEED={SEED}", *failed])
