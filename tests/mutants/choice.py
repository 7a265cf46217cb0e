"""Which tests a mutant meets: those beside its module that execute the changed lines, learned file by file."""

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutants.beside import ImportGraph
from tests.mutants.operators import Mutant
from tests.mutants.recording import MODULES, TARGET
from tests.mutants.trial import Copy

# A file whose first tests take longer than recording allows (recording.SECONDS, and a last test's time limit) has none.
RECORD_SECONDS = 150.0
# Tests that start a server or a crowd take seconds each, for lines that SQLite and a folder execute as well.
ENGINES = "not postgres and not cluster and not storm"
BUCKETS = "not s3"  # beside backends they are the point
# Where a line differs by engine, the nearest files' tests on PostgreSQL follow.
BY_ENGINE = re.compile(r"postgres|dialect|for_update|skip_locked|advisory|notify|\block", re.IGNORECASE)
# Rounds of tests for one mutant: so many nearest files whose tests execute the line, for so many recorded seconds.
FIRST_ROUND = (3, 6.0)
ROUNDS = ((1, 5.0), (2, 6.0), (6, 20.0))
# So many of the nearest files are asked whether they execute a line, and so many for a mutant that survived those.
NEAREST, WIDER = 4, 14
QUICK_SECONDS = 4.0  # a tenth of trial.TEST_SECONDS
WHOLE_FILES = 2  # for lines that only started processes execute


@dataclass(slots=True)
class Choice:
    """Knows, for each test file that was recorded once, which of its tests execute which line."""

    graph: ImportGraph
    copy: Copy
    folder: Path
    modules: list[str]
    nearest: int = NEAREST
    unsound: set[str] = field(default_factory=set)
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rounds(self, mutant: Mutant) -> Iterator[list[str]]:
        """Arguments for pytest, nearest tests first; the next round is for a mutant that survived the one before."""
        lines = _lines(self.copy.root / mutant.path, mutant)
        every = self.graph.tests_beside(mutant.path)
        files, met = every[: self.nearest], set[str]()
        # Files that were recorded already cost nothing to choose from, wherever they stand in the service.
        recorded = [file for file in every if file in self._known or self._target(file).exists()]
        for among, count, seconds in ((recorded, *FIRST_ROUND), *((files, *others) for others in ROUNDS)):
            if tests := self._executing(mutant.path, lines, among, count, seconds, met):
                met.update(tests)
                yield tests
        if not met:
            yield [*files[:WHOLE_FILES], "-k", _quick(mutant.path)]
        if BY_ENGINE.search(_function(self.copy.root / mutant.path, mutant)):
            yield [*files[:WHOLE_FILES], "-k", "postgres"]

    def is_known(self, test: str) -> bool:
        """Whether a test passed on the true code when it was recorded, far from any time limit."""
        took = [record["seconds"][test] for record in self._known.values() if test in record["seconds"]]
        return test not in self.unsound and bool(took) and max(took) < QUICK_SECONDS

    def _executing(
        self, module: str, lines: range, files: list[str], count: int, seconds: float, met: set[str]
    ) -> list[str]:
        """Tests of the nearest files that execute a line, the quickest of each file first, none twice."""
        chosen: list[str] = []
        found, spent = 0, 0.0
        for file in files:
            record = self._record(file)
            executed = record["lines"].get(module, {})
            tests = {test for line in lines for test in executed.get(str(line), ())}
            quickest = sorted((record["seconds"][test], test) for test in tests if test in record["seconds"])
            for took, test in quickest:
                if test not in met and test not in self.unsound and spent < seconds:
                    spent += took
                    chosen.append(test)
            found += bool(tests)
            if found == count or spent >= seconds:
                break
        return chosen

    def _target(self, file: str) -> Path:
        """Where a record lies; a file that has changed since is another file."""
        text = hashlib.sha256((self.copy.root / file).read_bytes()).hexdigest()[:8]
        return self.folder / f"{file.replace('/', '.')}.{text}.json"

    def _record(self, file: str) -> dict[str, Any]:
        """What a test file executes, from an earlier look or by running it once on the true code."""
        if file not in self._known:
            target = self._target(file)
            if not target.exists():
                environment = {TARGET: str(target), MODULES: os.pathsep.join(self.modules)}
                arguments = ["-ptests.mutants.recording", "--maxfail=1000", file, "-k", _quick(file)]
                self.copy.run(arguments, RECORD_SECONDS, environment)
            if not target.exists():
                target.write_text('{"seconds": {}, "failed": [], "lines": {}}', encoding="utf-8")
            self._known[file] = json.loads(target.read_text(encoding="utf-8"))
        return self._known[file]


def _quick(path: str) -> str:
    """Which tests pytest's -k leaves out beside this file."""
    return ENGINES if "/backends/" in path else f"{ENGINES} and {BUCKETS}"


def _lines(path: Path, mutant: Mutant) -> range:
    """The changed lines, and of a condition or a part of a statement the whole statement's first line too."""
    source = path.read_bytes()
    last = mutant.line + mutant.before.count("\n")
    begins = [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt)
        and not hasattr(node, "body")
        and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]
    return range(min([mutant.line, *begins]), last + 1)


def _function(path: Path, mutant: Mutant) -> str:
    """The text of the innermost function around a mutant, or the changed text alone."""
    text = path.read_text(encoding="utf-8")
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]
    if not around:
        return mutant.before
    return ast.get_source_segment(text, max(around, key=lambda node: node.lineno)) or mutant.before
