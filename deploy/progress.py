"""Shows operators how far a walk over all objects is: a bar on the terminal, each finding on a line of its own."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

import click

from deploy.tables import clean, line, show_line

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
STEP = 1024
WIDTHS = (16, 10, 1)  # of a finding's line, which cannot know what is still to come
COUNTS = ("total", "done", "changed")


@dataclass
class Walk:
    """One walk: what was told of it so far."""

    output: str
    bar: Any
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = False

    def hear(self, news: dict[str, Any]) -> None:
        """Take a message of the service: show what it found, move the bar."""
        for finding in news.pop("findings"):
            show_line(finding, self.output, finding_text)
        before = self.counts.get("doneCount", 0)
        self.complete = news.pop("complete")
        self.counts = {name: int(value) for name, value in news.items()}
        self.bar.length = max(self.counts["totalCount"], self.counts["doneCount"])
        self.bar.update(self.counts["doneCount"] - before)

    def summary(self, sentence: str) -> str:
        """How it ended; counts stand in the sentence as {done}, {changed}, {problem_count} and {left}.

        {left} counts what was found and not changed, of a walk that changes what it finds only.
        """
        return sentence.format(**self._words())

    def tell(self, sentence: str) -> None:
        """Print how it ended."""
        show_line(self.counts, self.output, lambda _: self.summary(sentence))

    def finish(self, sentence: str) -> None:
        """The same, and leave with 1 when something is wrong."""
        self.tell(sentence)
        if self.counts["problemCount"]:
            raise SystemExit(1)

    def _words(self) -> dict[str, str]:
        counts = self.counts
        words = {name: f"{counts[f'{name}Count']} objects ({amount(counts[f'{name}Bytes'])})" for name in COUNTS}
        left = max(0, counts["problemCount"] - counts["changedCount"])
        return words | {"problem_count": str(counts["problemCount"]), "left": str(left)}


def walked(verb: str, output: str, label: str, **fields: Any) -> Walk:
    """Have the service walk, to its end.

    Raises:
        click.ClickException: it said no, or went away in the middle.
    """
    follow: Callable[..., None] = resolve_name("deploy.rpc:follow")
    with click.progressbar(length=0, label=label, file=sys.stderr) as bar:
        walk = Walk(output, bar)
        follow(verb, walk.hear, **fields)
    if not walk.complete:
        raise click.ClickException("The service stopped in the middle. Run it again: what is done is done.")
    return walk


def finding_text(finding: dict[str, Any]) -> str:
    """A finding as a line."""
    problem = finding["problem"].removeprefix("PROBLEM_")
    key = finding["name"].removeprefix("objects/")
    return line((problem, amount(int(finding["sizeBytes"])), clean(key)), WIDTHS)


def amount(size: float) -> str:
    """A number of bytes as people say it."""
    unit = 0
    while size >= STEP and unit < len(UNITS) - 1:
        size, unit = size / STEP, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"
