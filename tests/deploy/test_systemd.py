"""The systemd units: accepted by systemd, closed, and of what the launcher and `kawaii serve` really are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.cli.main import main
from deploy.launcher.processes import STACK, SUBMIT_STOP_SECONDS
from services.chassis.settings import EXIT_CONFIGURATION

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = {"kawaii.service": "kawaii.service", "kawaii@.service": "kawaii@gateway.service"}
COMMAND = re.compile(r"^ExecStart=(\S+) (.*)$", re.MULTILINE)
EXPOSURE = re.compile(r"exposure level for \S+ ([0-9.]+)")
MOST_EXPOSED = 3.0

analyzed = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def text(unit: str) -> str:
    return (FOLDER / unit).read_text(encoding="utf-8")


def value(unit: str, key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", text(unit), re.MULTILINE)
    return found[1] if found else ""


@pytest.fixture(params=UNITS)
def analyze(request: pytest.FixtureRequest, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    """What systemd says of a unit whose program is here, as that of an installation is not: verified, then rated."""
    unit = tmp_path / UNITS[request.param]
    unit.write_text(COMMAND.sub(rf"ExecStart={shutil.which('true')} \2", text(request.param)), encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False
    )
    return subprocess.CompletedProcess(rated.args, rated.returncode, rated.stdout, verified.stderr)


@analyzed
def test_systemd_accepts_a_unit_and_finds_it_closed(analyze: "subprocess.CompletedProcess[str]") -> None:
    """Verification exits 0 for a bad key too, and writes a line."""
    rated = EXPOSURE.search(analyze.stdout)

    assert analyze.stderr == ""
    assert rated, analyze.stdout
    assert float(rated[1]) < MOST_EXPOSED


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_a_command_that_there_is(unit: str) -> None:
    found = COMMAND.search(text(unit))

    assert found
    assert found[2] in {"up", "serve %i"}
    assert found[2].split()[0] in main.commands


@pytest.mark.parametrize("unit", UNITS)
def test_wrong_settings_are_not_tried_again(unit: str) -> None:
    assert str(EXIT_CONFIGURATION) in value(unit, "RestartPreventExitStatus").split()


def test_a_stop_waits_for_a_submit_and_the_launchers_for_every_process() -> None:
    assert float(value("kawaii@.service", "TimeoutStopSec")) >= SUBMIT_STOP_SECONDS
    assert float(value("kawaii.service", "TimeoutStopSec")) >= sum(row.stop_seconds for row in STACK)
