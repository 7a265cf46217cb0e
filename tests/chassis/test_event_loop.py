"""What keeps the event loop of a process from long pauses."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import gc, importlib, sys
from services.chassis.event_loop import freeze_startup_objects
importlib.import_module(sys.argv[1])
freeze_startup_objects()
print(len(gc.get_objects()), gc.get_freeze_count())
"""


@pytest.mark.parametrize("process", ["gateway", "services.generation", "services.share"])
def test_garbage_collections_leave_out_what_was_imported(process: str) -> None:
    """A full one would stop all threads of the process for longer than the event loop may be held up."""
    command = [sys.executable, "-c", PROGRAM, f"{process}.__main__"]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    looked_through, left_out = map(int, shown.split())

    assert 10 * looked_through < left_out
