"""Reads what the processes of a stack wrote: the log of failpoints with the spans of work, and the services' logs."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from services.chassis.failpoints import BEGUN, WORK

FENCE_LOST = "fence_lost"  # a write that was refused because the lease had gone to another worker
CRASHED = ("work_failed", "callback_failed")  # by an exception that the loop does not expect


class FailpointHit(NamedTuple):
    """A failpoint that did something; `when` is in seconds since 1970, `subject` the id of the work that was hit."""

    when: float
    point: str
    action: str
    pid: int = 0
    subject: str = "-"


class WorkSpan(NamedTuple):
    """Work on one generation by one process; `ended` is infinite, `how` empty, if no end was written."""

    subject: str
    pid: int
    began: float
    ended: float = math.inf
    how: str = ""


@dataclass(frozen=True)
class ProcessLogs:
    """The logs in a stack's folder."""

    folder: Path

    @property
    def hit_log(self) -> Path:
        """The file into which failpoints write."""
        return self.folder / "failpoints.log"

    def hits(self) -> list[FailpointHit]:
        """Every failpoint that did something, in the order of the log."""
        return [hit for hit in self._lines_of_hits() if hit.point != WORK]

    def spans(self) -> list[WorkSpan]:
        """Every span of work, in the order in which they began."""
        found: list[WorkSpan] = []
        open_: dict[tuple[int, str], int] = {}
        for when, point, action, pid, key in self._lines_of_hits():
            if point == WORK and action == BEGUN:
                open_[pid, key] = len(found)
                found.append(WorkSpan(key.partition("#")[0], pid, when))
            elif point == WORK and (pid, key) in open_:
                index = open_.pop((pid, key))
                found[index] = found[index]._replace(ended=when, how=action)
        return found

    def counted(self, action: str) -> Counter[str]:
        """How often each failpoint performed an action."""
        return Counter(hit.point for hit in self.hits() if hit.action == action)

    def _lines_of_hits(self) -> Iterator[FailpointHit]:
        lines = self.hit_log.read_text().splitlines() if self.hit_log.exists() else []
        for when, point, action, pid, subject in map(str.split, lines):
            yield FailpointHit(float(when), point, action, int(pid), subject)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The log lines of some events; a line that a kill cut off is left out."""
        return [
            line
            for event in names
            for text in self._lines(f'"{event}"')
            if (line := parsed(text)).get("event") == event
        ]

    def crashes(self) -> list[str]:
        """Which work failed by an exception that its loop does not expect, and where."""
        found = self.events(*CRASHED)
        return [
            f"{line.get('work') or line.get('callback') or line.get('generation')}: {cause_of(line)}" for line in found
        ]

    def _lines(self, part: str) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.log")):
            with path.open(errors="replace") as log:
                yield from (line for line in log if part in line)


def cause_of(line: dict[str, Any]) -> str:
    """Where work failed, as its log line says."""
    return str(line.get("cause") or line.get("exception", "")[-300:])


def parsed(text: str) -> dict[str, Any]:
    """A line of JSON; empty when it is none."""
    with suppress(ValueError):
        return dict(json.loads(text))
    return {}
