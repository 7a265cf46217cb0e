"""Trials of mutants: a copy of the tree, pytest in forks of a process beside it, and an end to all that it started."""

import compileall
import json
import os
import py_compile
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tests.mutants.operators import Mutant

Verdict = Literal["killed", "survived", "timed out"]

PASSED, NOTHING_COLLECTED = 0, 5  # pytest's exit codes; any other says that something failed
# Every process that a trial starts carries this in its environment, also a PostgreSQL that made itself a daemon.
MARK = "KAWAII_MUTANT_TRIAL"
GONE = (psutil.NoSuchProcess, psutil.AccessDenied)
# One test that runs longer hangs: those beside a module take less than a tenth of it.
TEST_SECONDS = 40
# What the tests of the sampled modules import, for the most part; each is imported once.
LIBRARIES = (
    "alembic.autogenerate",
    "alembic.command",
    "asyncpg",
    "boto3.session",
    "coverage",
    "google.protobuf.json_format",
    "google.rpc.error_details_pb2",
    "grpc.aio",
    "grpc_health.v1.health_pb2_grpc",
    "grpc_reflection.v1alpha.reflection",
    "grpc_status.rpc_status",
    "httpx",
    "hypothesis",
    "jinja2",
    "jwt",
    "kawaii.community.v1.community_pb2_grpc",
    "kawaii.generation.v1.generation_pb2_grpc",
    "kawaii.share.v1.share_pb2_grpc",
    "kawaii.storage.v1.storage_pb2_grpc",
    "moto.server",
    "multipart",
    "orjson",
    "PIL.Image",
    "prometheus_client",
    "psutil",
    "pydantic_settings",
    "redis.asyncio",
    "schemathesis",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.ext.asyncio",
    "starlette.applications",
    "structlog",
    "uvicorn",
)
# Named, since looking for plugins among all installed packages takes longer than most tests.
PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout", "_hypothesis_pytestplugin")
ARGUMENTS = (
    "-x",
    "-q",
    "--no-header",
    "--tb=no",
    f"--timeout={TEST_SECONDS}",
    "-Wignore::pytest.PytestAssertRewriteWarning",  # plugins that the forks found imported
    "-pno:cacheprovider",
    *(f"-p{plugin}" for plugin in PLUGINS),
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/.+?::.+?)(?: - .*)?$", re.MULTILINE)
NOT_FOUND = re.compile(r"^ERROR: not found: .*?(tests/.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run of pytest ended: its exit code, None after the time limit, and which tests failed or were not found."""

    code: int | None
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.code in {PASSED, NOTHING_COLLECTED}


class Copy:
    """A copy of the tree in which one mutant after the other is tried; the tree itself is never written."""

    def __init__(self, tree: Path, folder: Path, libraries: Sequence[str] = LIBRARIES) -> None:
        self._libraries = libraries
        self.root, self._temporary, self._output = folder / "tree", folder / "tmp", folder / "output"
        self._forks: subprocess.Popen[str] | None = None
        fresh = not self.root.exists()
        self._temporary.mkdir(parents=True, exist_ok=True)
        files = _files_of(tree)
        for path in set(self.root.rglob("*.py")) - {self.root / file for file in files}:
            path.unlink()  # of an earlier run
        for file in files:
            target = self.root / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / file, target)
        programs = tree / ".venv"
        if programs.exists() and not (self.root / ".venv").is_symlink():
            (self.root / ".venv").symlink_to(programs)  # some tests start the commands in the folder
        # By hash, so that a module changed within the same second is never taken for the old one.
        by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
        if fresh:
            compileall.compile_dir(self.root, quiet=2, invalidation_mode=by_hash)

    def run(self, tests: Sequence[str], seconds: float, environment: dict[str, str] | None = None) -> Result:
        """Run tests, and pytest's arguments among them, on the true code."""
        mark = secrets.token_hex(8)
        forks = self._started()
        order = {
            "arguments": [*ARGUMENTS, *tests],
            "environment": {
                "TMPDIR": str(self._temporary),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                MARK: mark,
            }
            | (environment or {}),
            "output": str(self._output),
        }
        pid = _asked(forks, json.dumps(order))
        try:
            code = _answered(forks, seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _end(mark)
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(exist_ok=True)
        if code is None:
            _answered(forks, None)
        output = self._output.read_text(encoding="utf-8", errors="replace") if self._output.exists() else ""
        return Result(code, tuple(FAILED.findall(output)), tuple(NOT_FOUND.findall(output)))

    def tried(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> Result:
        """Run tests on the changed module."""
        module = self.root / mutant.path
        source = module.read_bytes()
        module.write_bytes(mutant.applied(source))
        try:
            return self.run(tests, seconds)
        finally:
            module.write_bytes(source)

    def close(self) -> None:
        """End the process that forks."""
        if self._forks is not None:
            self._forks.kill()
            self._forks.communicate()
            self._forks = None

    def _started(self) -> "subprocess.Popen[str]":
        if self._forks is None:
            # The installed package points at the tree; the copy comes before.
            paths = os.pathsep.join(str(self.root / part) for part in (".", "protos/gen"))
            self._forks = subprocess.Popen(
                [sys.executable, "-m", "tests.mutants.forks", *self._libraries],
                cwd=self.root,
                env=os.environ | {"PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        return self._forks


@contextmanager
def opened(tree: Path, folder: Path, libraries: Sequence[str] = LIBRARIES) -> Iterator[Copy]:
    """A copy whose process ends with the context."""
    copy = Copy(tree, folder, libraries)
    try:
        yield copy
    finally:
        copy.close()


def _asked(forks: "subprocess.Popen[str]", order: str) -> int:
    if forks.stdin is None or forks.stdout is None:
        raise RuntimeError("the forks have no pipes")
    forks.stdin.write(order + "\n")
    forks.stdin.flush()
    return int(forks.stdout.readline())


def _answered(forks: "subprocess.Popen[str]", seconds: float | None) -> int | None:
    """The exit code, or None after the time limit. Nothing is buffered here: each line was awaited before the next."""
    if forks.stdout is None:
        raise RuntimeError("the forks have no pipes")
    ready, _, _ = select.select([forks.stdout], [], [], seconds)
    return int(forks.stdout.readline()) if ready else None


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
