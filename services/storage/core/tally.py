"""Counts what a walk over all objects looked at, changed and found wrong, so that operators can follow it."""

from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """What is wrong with an object, or why it is in the way; the proto's comments explain each."""

    BYTES_MISSING = "BYTES_MISSING"
    ROW_MISSING = "ROW_MISSING"
    SIZE_DIFFERS = "SIZE_DIFFERS"
    HASH_DIFFERS = "HASH_DIFFERS"
    TARGET_DIFFERS = "TARGET_DIFFERS"
    NOT_IN_TARGET = "NOT_IN_TARGET"
    NOT_HOME_YET = "NOT_HOME_YET"
    ORIGINAL_GONE = "ORIGINAL_GONE"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    NOT_OURS = "NOT_OURS"
    NOT_A_PICTURE = "NOT_A_PICTURE"


@dataclass(frozen=True)
class Look:
    """What became of one object: its size in bytes, whether it was changed, and what is wrong with it."""

    key: str
    size: int
    changed: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Progress:
    """Totals since the start of a walk, and the looks since the progress before that found something wrong."""

    total_count: int
    total_bytes: int
    done_count: int
    done_bytes: int
    changed_count: int
    changed_bytes: int
    problem_count: int
    findings: tuple[Look, ...]
    complete: bool


class Tally:
    """The counts of one walk."""

    def __init__(self, total_count: int, total_bytes: int) -> None:
        self._total = total_count, total_bytes
        self._done_count = self._done_bytes = 0
        self._changed_count = self._changed_bytes = 0
        self._problem_count = 0
        self._findings: list[Look] = []

    def add(self, look: Look) -> None:
        """Count a look."""
        self._done_count += 1
        self._done_bytes += look.size
        self._changed_count += look.changed
        self._changed_bytes += look.size if look.changed else 0
        if look.problem:
            self._problem_count += 1
            self._findings.append(look)

    def progress(self, *, complete: bool = False) -> Progress:
        """How far it is."""
        findings, self._findings = tuple(self._findings), []
        done, changed = (self._done_count, self._done_bytes), (self._changed_count, self._changed_bytes)
        return Progress(*self._total, *done, *changed, self._problem_count, findings, complete)
