"""Shows operators how far a walk over all objects is: a bar on the terminal, and what was found.

A bucket may hold millions of others' files: of each problem only a few examples are shown and the rest is counted,
unless each is asked for. Nothing is kept of a finding that was shown or counted.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

import click

from deploy.cli.tables import clean, line, show_line

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
STEP = 1024
WIDTHS = (16, 10, 1)  # of a finding's line, which cannot know what is still to come
COUNTS = ("total", "done", "changed")
EXAMPLES = 5  # of each problem: enough to see what they are


@dataclass
class Found:
    """How many objects have a problem, and their bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.count += 1
        self.bytes += size


@dataclass
class Walk:
    """One walk: what was told of it so far."""

    output: str
    bar: Any
    each: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    found: dict[str, Found] = field(default_factory=dict)

    def hear(self, news: dict[str, Any]) -> None:
        """Take a message of the service: show what it found, move the bar."""
        for finding in news.pop("findings"):
            found = self.found.setdefault(finding["problem"], Found())
            found.add(int(finding["sizeBytes"]))
            if self.each or found.count <= EXAMPLES:
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
        """Print how it ended: how many there are of each problem, and the sentence."""
        told = {problem: vars(found) for problem, found in sorted(self.found.items())}
        if self.output == "text":
            for problem, found in sorted(self.found.items()):
                if rest := 0 if self.each else max(0, found.count - EXAMPLES):
                    click.echo(
                        f"{named(problem)}: {found.count} ({amount(found.bytes)}), {rest} of them not shown: --list"
                    )
        show_line({**self.counts, "problems": told}, self.output, lambda _: self.summary(sentence))

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


def walked(verb: str, output: str, label: str, *, each: bool = False, **fields: Any) -> Walk:
    """Have the service walk, to its end; `each` shows every finding.

    Raises:
        click.ClickException: it said no, or went away in the middle.
    """
    follow: Callable[..., None] = resolve_name("deploy.cli.rpc:follow")
    with click.progressbar(length=0, label=label, file=sys.stderr) as bar:
        walk = Walk(output, bar, each)
        follow(verb, walk.hear, **fields)
    if not walk.complete:
        raise click.ClickException("The service stopped in the middle. Run it again: what is done is done.")
    return walk


def finding_text(finding: dict[str, Any]) -> str:
    """A finding as a line."""
    problem = named(finding["problem"])
    key = finding["name"].removeprefix("objects/")
    return line((problem, amount(int(finding["sizeBytes"])), clean(key)), WIDTHS)


def named(problem: str) -> str:
    """A problem as people read it."""
    return problem.removeprefix("PROBLEM_")


def amount(size: float) -> str:
    """A number of bytes as people say it."""
    unit = 0
    while size >= STEP and unit < len(UNITS) - 1:
        size, unit = size / STEP, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"
