"""What the processes of a stack wrote while they lived: hits of failpoints, and the work they had in hand."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from services.chassis.failpoints import BEGUN, WORK

REFUSED = "fence_lost"  # a worker whose lease went to another wanted to write, and could not
CRASHED = ("work_failed", "callback_failed")  # by an exception that its loop must not meet


class Hit(NamedTuple):
    """A failpoint that did something; when is in seconds since 1970, subject the id of the work that it struck."""

    when: float
    point: str
    action: str
    pid: int = 0
    subject: str = "-"


class Piece(NamedTuple):
    """One piece of work on a generation by one process; ended is infinite when the process never said that it ended."""

    subject: str
    pid: int
    began: float
    ended: float = math.inf
    how: str = ""


@dataclass(frozen=True)
class Diary:
    """The log of failpoints and the logs of the processes, all in the stack's folder."""

    folder: Path

    @property
    def hit_log(self) -> Path:
        """Where failpoints write."""
        return self.folder / "failpoints.log"

    def hits(self) -> list[Hit]:
        """When which failpoint did what, in which process, to which work."""
        return [hit for hit in self._lines_of_hits() if hit.point != WORK]

    def pieces(self) -> list[Piece]:
        """Every piece of work that a process took in hand, in the order in which they began."""
        found: list[Piece] = []
        open_: dict[tuple[int, str], int] = {}
        for when, point, action, pid, piece in self._lines_of_hits():
            if point == WORK and action == BEGUN:
                open_[pid, piece] = len(found)
                found.append(Piece(piece.partition("#")[0], pid, when))
            elif point == WORK and (pid, piece) in open_:
                place = open_.pop((pid, piece))
                found[place] = found[place]._replace(ended=when, how=action)
        return found

    def counted(self, action: str) -> Counter[str]:
        """How often each failpoint did this."""
        return Counter(hit.point for hit in self.hits() if hit.action == action)

    def _lines_of_hits(self) -> Iterator[Hit]:
        lines = self.hit_log.read_text().splitlines() if self.hit_log.exists() else []
        for when, point, action, pid, subject in map(str.split, lines):
            yield Hit(float(when), point, action, int(pid), subject)

    def told(self, *events: str) -> list[dict[str, Any]]:
        """The log lines of some events; a line torn by a death is none."""
        return [
            line
            for event in events
            for text in self._lines(f'"{event}"')
            if (line := parsed(text)).get("event") == event
        ]

    def crashes(self) -> list[str]:
        """Which work failed with an exception that its loop does not expect, and where."""
        found = self.told(*CRASHED)
        return [
            f"{line.get('work') or line.get('callback') or line.get('generation')}: {cause_of(line)}" for line in found
        ]

    def _lines(self, part: str) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.log")):
            with path.open(errors="replace") as log:
                yield from (line for line in log if part in line)


def cause_of(line: dict[str, Any]) -> str:
    """Where a piece of work failed, as its log line says."""
    return str(line.get("cause") or line.get("exception", "")[-300:])


def parsed(text: str) -> dict[str, Any]:
    """A line of JSON; empty when it is none."""
    with suppress(ValueError):
        return dict(json.loads(text))
    return {}
