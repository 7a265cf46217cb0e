"""Bare `make` tells what can be done here."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def make(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", "-C", str(ROOT), *words], capture_output=True, text=True, check=False, timeout=60)


def test_bare_make_explains_every_verb() -> None:
    said = make("--no-print-directory").stdout
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()

    assert re.findall(r"^  make ([a-z-]+)\s+[A-Z]", said, re.MULTILINE) == phony


def test_a_machine_without_a_suitable_python_is_told_so(tmp_path: Path) -> None:
    done = make(f"{tmp_path}/venv/.created", f"VENV={tmp_path}/venv", "PYTHON=no-such-python")

    assert done.returncode != 0
    assert "kawaii needs Python 3.11 or newer" in done.stderr


def test_a_python_without_ensurepip_is_told_what_to_install(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n', encoding="utf-8")
    bare.chmod(0o755)

    done = make(f"{tmp_path}/venv/.created", f"VENV={tmp_path}/venv", f"PYTHON={bare}")

    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
