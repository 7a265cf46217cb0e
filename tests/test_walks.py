"""No request crosses more modules of ours than it did when this was written; `tests/walks.py` counts them."""

import re
import subprocess
import sys

import pytest

from tests.e2e.stack import ROOT
from tests.walks import AIMS

# Counted in November 2026, and three more for what a clock decides. Lower them with the count; aims are in walks.py.
REACHED = {"a share read": 30, "a like": 40, "a callback": 36, "a prompt to its stored picture": 87}
SECONDS = 300  # on a busy machine


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    """The number of modules of each walk, by its name."""
    command = [sys.executable, "-m", "tests.walks"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    return {name: int(number) for number, name in re.findall(r"^ *(\d+) modules: (.+) \(aim", table, re.MULTILINE)}


@pytest.mark.parametrize("walk", AIMS)
def test_a_walk_crosses_no_more_modules_than_before(counted: dict[str, int], walk: str) -> None:
    assert 0 < counted[walk] <= REACHED[walk]
