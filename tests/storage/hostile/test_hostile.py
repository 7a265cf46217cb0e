"""Hostile URLs at every entry of a stack, in a namespace where every address listens: nobody inside is reached."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = ("unshare", "ip", "mount", "openssl")


def missing() -> str:
    """Why this cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "only root may make the network namespace in which the canaries listen"
    absent = [program for program in NEEDED if not shutil.which(program)]
    if absent:
        return f"{', '.join(absent)} missing, which the network namespace needs"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], check=False, capture_output=True)
    return "this machine forbids network namespaces" if tried.returncode else ""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hostile")
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m"]
    subprocess.run([*command, "tests.storage.hostile.inside", folder], cwd=ROOT, check=True)
    return dict(json.loads((folder / "report.json").read_text(encoding="utf-8")))


pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


def test_nobody_inside_is_ever_reached(report: dict[str, Any]) -> None:
    """Neither by the table, nor by fifty scripts of a name server, nor by redirects."""
    assert report["rows"] >= 500
    assert len(report["entries"]) >= 12
    assert report["visits"] == []


def test_every_hostile_url_is_refused_at_every_entry_that_can_see_it(report: dict[str, Any]) -> None:
    assert report["let_in"] == []


def test_fifty_honest_urls_pass_everywhere(report: dict[str, Any]) -> None:
    assert report["honest"] == 50
    assert report["served"] >= 50
    assert report["turned_away"] == []
