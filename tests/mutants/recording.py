"""A pytest plugin that writes down which test executes which line of the sampled modules, and how long each test takes.

Loaded with `-p tests.mutants.recording`; the file to write and the modules to watch are in the environment. Only what
runs in pytest's own process is seen; lines that only a started process executes are met by whole test files instead.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

TARGET, MODULES = "KAWAII_MUTANTS_RECORD", "KAWAII_MUTANTS_MODULES"
# A file's tests that begin later are not chosen. The second limit is for those that wait instead of working.
CPU_SECONDS, SECONDS = 10.0, 60.0


class Recorder:
    """Switches coverage's context with each test."""

    def __init__(self, root: Path, modules: list[str], target: Path) -> None:
        self._root, self._target = root, target
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._cpu_began, self._began = time.process_time(), time.monotonic()
        self._coverage = coverage.Coverage(
            data_file=None,
            config_file=False,
            include=[str(root / module) for module in modules],
            concurrency=["thread", "greenlet"],  # SQLAlchemy runs statements in greenlets
        )
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """What runs from here on is this test's doing, its fixtures' work included."""
        self._coverage.switch_context(item.nodeid)
        done = yield
        if time.process_time() - self._cpu_began > CPU_SECONDS or time.monotonic() - self._began > SECONDS:
            item.session.shouldstop = "the time for this file is over"
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up a test's seconds; a failed or skipped test can tell nothing of a mutant."""
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write all down at once, so that a file is whole or not there."""
        self._coverage.stop()
        record = {
            "seconds": {test: round(took, 3) for test, took in self._seconds.items() if test not in self._failed},
            "failed": sorted(self._failed),
            "lines": self._lines(),
        }
        part = self._target.with_suffix(".part")
        part.write_text(json.dumps(record), encoding="utf-8")
        part.replace(self._target)

    def _lines(self) -> dict[str, dict[int, list[str]]]:
        """The tests by module and line; what ran while modules were imported belongs to no test."""
        data: Any = self._coverage.get_data()
        found = {}
        for file in data.measured_files():
            lines = {line: sorted(filter(None, tests)) for line, tests in data.contexts_by_lineno(file).items()}
            module = Path(file).relative_to(self._root).as_posix()
            found[module] = {line: tests for line, tests in sorted(lines.items()) if tests}
        return found


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch before any test file is imported."""
    modules = os.environ[MODULES].split(os.pathsep)
    config.pluginmanager.register(Recorder(Path.cwd(), modules, Path(os.environ[TARGET])))
