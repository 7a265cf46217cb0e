"""The README tells the truth: its lines are run in order, in one shell, against the real stack."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import ROOT, Stack

pytestmark = pytest.mark.e2e

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readme_s_lines_run_in_order(stack: Stack, tmp_path: Path) -> None:
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    if buf is None:
        pytest.skip("buf is not installed here")
    lines = "\n".join(BLOCK.findall((ROOT / "README.md").read_text()))
    programs = {"BUF": buf, "KAWAII": str(Path(sys.executable).with_name("kawaii"))}
    environment = os.environ | {"URL": stack.url, "INTERNAL_PORT_BASE": str(stack.base)} | programs
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", lines],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    for service in ("generation.v1.GenerationService", "storage.v1.StorageService", "share.v1.ShareService"):
        assert f"kawaii.{service}" in done.stdout
    assert done.stdout.count("SERVING") == 4
    assert "STATE_SUCCEEDED" in done.stdout
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
