"""Trials of mutants: a copy of the tree per worker, pytest as a process, and an end to all that it started."""

import compileall
import os
import py_compile
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil

from tests.mutants.operators import Mutant

Verdict = Literal["killed", "survived", "timed out"]

PASSED, NOTHING_COLLECTED = 0, 5  # pytest's exit codes; any other says that something failed
# Every process of a trial carries this in its environment, also a PostgreSQL that made itself a daemon.
MARK = "KAWAII_MUTANT_TRIAL"
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


class Copy:
    """A copy of the tree in which one mutant after the other is tried; the tree itself is never written."""

    def __init__(self, tree: Path, folder: Path, programs: Path | None = None) -> None:
        self.root, self._temporary = folder / "tree", folder / "tmp"
        self._temporary.mkdir(parents=True)
        for file in _files_of(tree):
            target = self.root / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / file, target)
        programs = programs or tree / ".venv"
        if programs.exists():
            (self.root / ".venv").symlink_to(programs)  # some tests start the commands in the folder
        # By hash, so that a module changed within the same second is never taken for the old one.
        by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(self.root, quiet=2, invalidation_mode=by_hash)

    def passes(self, test: str, seconds: float) -> bool:
        """Whether a test file passes on the true code within the time."""
        return self._run(test, seconds) in {PASSED, NOTHING_COLLECTED}

    def tried(self, mutant: Mutant, test: str, seconds: float) -> Verdict:
        """What becomes of a mutant when a test file runs on the changed module."""
        with self._changed(mutant):
            code = self._run(test, seconds)
        if code is None:
            return "timed out"
        return "survived" if code in {PASSED, NOTHING_COLLECTED} else "killed"

    @contextmanager
    def _changed(self, mutant: Mutant) -> Iterator[None]:
        module = self.root / mutant.path
        source = module.read_bytes()
        module.write_bytes(mutant.applied(source))
        try:
            yield
        finally:
            module.write_bytes(source)

    def _run(self, test: str, seconds: float) -> int | None:
        """The exit code of pytest, or None after the time limit."""
        mark = secrets.token_hex(8)
        # The installed package points at the tree; the copy comes before.
        paths = os.pathsep.join(str(self.root / part) for part in (".", "protos/gen"))
        surroundings = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self._temporary), MARK: mark}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", test]
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=os.environ | surroundings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(mark)
            process.wait()
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(exist_ok=True)


def _files_of(tree: Path) -> list[str]:
    """What git knows or would add: neither the virtual environment nor data."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    )
    return [file for file in listing.stdout.split("\0") if file and (tree / file).is_file()]


def _end(mark: str) -> None:
    """Kill every process that carries a trial's mark, until none is left."""
    while marked := [process for process in psutil.process_iter() if _carries(process, mark)]:
        for process in marked:
            with suppress(*GONE):
                process.kill()
        psutil.wait_procs(marked, timeout=5)


def _carries(process: psutil.Process, mark: str) -> bool:
    with suppress(*GONE):
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    return False
