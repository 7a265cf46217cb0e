"""A failpoint does what the environment says, and nothing without it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.errors import Unavailable
from services.chassis.failpoints import Failpoints, reach, reach_in_thread

PASS_TWICE = """
import asyncio
from services.chassis.failpoints import reach, reach_in_thread
asyncio.run(reach("a.point"))
print("once", flush=True)
reach_in_thread("a.point")
print("twice", flush=True)
"""
ROOT = Path(__file__).parents[2]


def passing_twice(log: Path, fault: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FAILPOINT": fault, "FAILPOINT_LOG": str(log), "FAILPOINT_HANG_SECONDS": "0"}
    command = [sys.executable, "-c", PASS_TWICE]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


TICKING = """
import threading, time
from services.chassis.failpoints import reach_in_thread
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
while ticks < 10:
    time.sleep(0.001)
before = ticks
reach_in_thread("a.point")
print(ticks - before)
"""


def noted(log: Path) -> list[list[str]]:
    return [line.split()[1:3] for line in log.read_text().splitlines()]


def test_a_point_is_a_bare_name_without_the_variable() -> None:
    assert not Failpoints({}).armed
    asyncio.run(reach("a.point"))
    reach_in_thread("a.point")


def test_kill_ends_the_process_at_the_nth_passing_and_leaves_a_line(tmp_path: Path) -> None:
    done = passing_twice(tmp_path / "log", "a.point:kill:2")

    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "once\n"
    assert noted(tmp_path / "log") == [["a.point", "kill"]]


def test_error_looks_as_if_something_were_away(tmp_path: Path) -> None:
    done = passing_twice(tmp_path / "log", "a.point:error")

    assert "Unavailable" in done.stderr
    assert noted(tmp_path / "log") == [["a.point", "error"]]


@pytest.mark.parametrize("action", ["hang", "sleep"])
def test_what_only_holds_a_process_lets_it_go_on(tmp_path: Path, action: str) -> None:
    done = passing_twice(tmp_path / "log", f"*:{action}")

    assert done.stdout == "once\ntwice\n"
    assert noted(tmp_path / "log") == [["a.point", action]] * 2


def test_a_process_that_hangs_halts_with_all_its_threads() -> None:
    environment = os.environ | {"FAILPOINT": "a.point:hang", "FAILPOINT_HANG_SECONDS": "1"}
    done = subprocess.run([sys.executable, "-c", TICKING], cwd=ROOT, env=environment, capture_output=True, check=True)

    assert int(done.stdout) < 200  # of a thousand


def test_another_point_is_left_alone(tmp_path: Path) -> None:
    assert passing_twice(tmp_path / "log", "another.point:kill").returncode == 0


def test_no_fault_falls_in_the_quiet_time() -> None:
    points = Failpoints({"FAILPOINT": "a.point:error", "FAILPOINT_AFTER_SECONDS": "3600"})

    assert points.strike("a.point") == ""


def test_a_seed_brings_back_the_same_chances() -> None:
    def struck(seed: str) -> list[int]:
        points = Failpoints({"FAILPOINT": "*:error:0.3", "FAILPOINT_SEED": seed})
        return [number for number in range(50) if failed(points)]

    assert struck("7") == struck("7")
    assert 0 < len(struck("7")) < 50
    assert struck("7") != struck("8")


def failed(points: Failpoints) -> bool:
    try:
        points.strike("a.point")
    except Unavailable:
        return True
    return False


@pytest.mark.parametrize("text", ["a.point", "a.point:explode", "a.point:kill:often", "a.point:kill:1:2"])
def test_a_misspelt_fault_does_not_pass_for_a_good_day(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Failpoints({"FAILPOINT": text})


def lines_of(log: Path) -> list[list[str]]:
    """Name, action and subject of each line."""
    return [[parts[1], parts[2], parts[4]] for parts in map(str.split, log.read_text().splitlines())]


def run(program: str, log: Path, fault: str = "") -> None:
    environment = os.environ | {"FAILPOINT": fault, "FAILPOINT_LOG": str(log)}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)


WORKING = """
from services.chassis.failpoints import reach_in_thread, work_on
with work_on("gen_1"):
    reach_in_thread("a.point")
"""


def test_work_that_ends_by_itself_says_that_it_is_done(tmp_path: Path) -> None:
    run(WORKING, tmp_path / "log")

    assert lines_of(tmp_path / "log") == [["work", "begun", "gen_1#1"], ["work", "done", "gen_1#1"]]


def test_work_that_fails_names_its_error_and_the_strike_names_the_work(tmp_path: Path) -> None:
    run(WORKING, tmp_path / "log", "a.point:error")

    expected = [["work", "begun", "gen_1#1"], ["a.point", "error", "gen_1"], ["work", "Unavailable", "gen_1#1"]]
    assert lines_of(tmp_path / "log") == expected


def test_work_whose_process_dies_has_no_end(tmp_path: Path) -> None:
    run(WORKING, tmp_path / "log", "a.point:kill")

    assert lines_of(tmp_path / "log") == [["work", "begun", "gen_1#1"], ["a.point", "kill", "gen_1"]]
