"""Counts the objects that a scan has checked, changed and found wrong, so that operators can follow it."""

from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """What is wrong with an object, or why it cannot be migrated; the proto's comments explain each."""

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
class ScanResult:
    """The result of checking one object: its size in bytes, whether it was changed, and its problem."""

    key: str
    size: int
    changed: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Progress:
    """Totals since the start of a scan, and the problems found since the last progress."""

    total_count: int
    total_bytes: int
    done_count: int
    done_bytes: int
    changed_count: int
    changed_bytes: int
    problem_count: int
    findings: tuple[ScanResult, ...]
    complete: bool


class ScanCounts:
    """The counts of one scan."""

    def __init__(self, total_count: int, total_bytes: int) -> None:
        self._total = total_count, total_bytes
        self._done_count = self._done_bytes = 0
        self._changed_count = self._changed_bytes = 0
        self._problem_count = 0
        self._findings: list[ScanResult] = []

    def add(self, check: ScanResult) -> None:
        """Count the result of one object."""
        self._done_count += 1
        self._done_bytes += check.size
        self._changed_count += check.changed
        self._changed_bytes += check.size if check.changed else 0
        if check.problem:
            self._problem_count += 1
            self._findings.append(check)

    def progress(self, *, complete: bool = False) -> Progress:
        """The progress until now, with the problems since the last call."""
        findings, self._findings = tuple(self._findings), []
        done, changed = (self._done_count, self._done_bytes), (self._changed_count, self._changed_bytes)
        return Progress(*self._total, *done, *changed, self._problem_count, findings, complete)
