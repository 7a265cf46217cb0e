"""What the processes of a town wrote down while they lived: hits of failpoints, and work that they let go."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

REFUSED = "fence_lost"  # a worker whose lease went to another wanted to write, and could not
POSTPONED = "work_postponed"  # a worker was stopped by an error that it may meet
CRASHED = "work_failed"  # by one that it must not meet


class Hit(NamedTuple):
    """A failpoint that did something; when is in seconds since 1970."""

    when: float
    point: str
    action: str


@dataclass(frozen=True)
class Diary:
    """The log of failpoints and the logs of the processes, all in the town's folder."""

    folder: Path

    @property
    def hit_log(self) -> Path:
        """Where failpoints write."""
        return self.folder / "failpoints.log"

    def hits(self) -> list[Hit]:
        """When which failpoint did what."""
        lines = self.hit_log.read_text().splitlines() if self.hit_log.exists() else []
        return [Hit(float(when), point, action) for when, point, action, *_ in map(str.split, lines)]

    def counted(self, action: str) -> Counter[str]:
        """How often each failpoint did this."""
        return Counter(hit.point for hit in self.hits() if hit.action == action)

    def told(self, event: str) -> list[dict[str, Any]]:
        """The log lines of an event; a line torn by a death is none."""
        return [line for text in self._lines(f'"{event}"') if (line := parsed(text)).get("event") == event]

    def let_go(self) -> frozenset[str]:
        """Generations of which a process says that it dropped its work on them."""
        return frozenset(line["generation"] for event in (REFUSED, POSTPONED) for line in self.told(event))

    def _lines(self, part: str) -> Iterator[str]:
        for path in self.folder.glob("generation*.log"):
            with path.open(errors="replace") as log:
                yield from (line for line in log if part in line)


def parsed(text: str) -> dict[str, Any]:
    """A line of JSON; empty when it is none."""
    with suppress(ValueError):
        return dict(json.loads(text))
    return {}
