"""Asks the stack for an operator's command, and shows what it answers: columns for people, JSON for programs.

A walk over all objects shows a bar on the terminal. A bucket may hold millions of others' files: of each problem only a
few examples are shown and the rest is counted, unless each is asked for. Nothing is kept of a finding that was shown or
counted.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

import click

GAP = "  "

output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
STEP = 1024
WIDTHS = (16, 10, 1)  # of a finding's line, which cannot know what is still to come
COUNTS = ("total", "done", "changed")
EXAMPLES = 5  # of each problem: enough to see what they are


def ask(verb: str, **fields: Any) -> dict[str, Any]:
    """The answer of an RPC, by its name, as rpc.ask gives it; gRPC is loaded only now, so that help is quick."""
    answer: dict[str, Any] = resolve_name("deploy.cli.rpc:ask")(verb, **fields)
    return answer


def follow(verb: str, tell: Callable[[dict[str, Any]], None], **fields: Any) -> None:
    """Pass each answer of a streaming RPC to `tell`, as rpc.follow does."""
    resolve_name("deploy.cli.rpc:follow")(verb, tell, **fields)


def show(answer: Any, output: str, text: Callable[[Any], str]) -> None:
    """Print an answer as JSON, or as what `text` makes of it."""
    click.echo(json.dumps(answer, indent=2) if output == "json" else text(answer))


def show_line(answer: Any, output: str, text: Callable[[Any], str]) -> None:
    """The same for one of many answers: each is one line, JSON too."""
    click.echo(json.dumps(answer) if output == "json" else text(answer))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under their heads, each as wide as its widest cell."""
    cells = [list(map(clean, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(line(row, widths) for row in cells)


def line(cells: Iterable[object], widths: Iterable[int]) -> str:
    """One row of a table."""
    return GAP.join(f"{clean(cell):<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def clean(value: object) -> str:
    """A cell that cannot steer the terminal: part of it may be a stranger's words."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(value)) or "-"


def moment(time: str | None) -> str:
    """A time to the second; empty when there is none."""
    return f"{time[:19]}Z" if time else ""


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
    """The progress of one walk so far."""

    output: str
    bar: Any
    each: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    found: dict[str, Found] = field(default_factory=dict)

    def hear(self, news: dict[str, Any]) -> None:
        """Take a message of the service: show what it found, move the bar."""
        for finding in news.pop("findings"):
            found = self.found.setdefault(str(finding["problem"]), Found())
            found.add(int(finding["sizeBytes"]))
            if self.each or found.count <= EXAMPLES:
                show_line(finding, self.output, _finding_text)
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
        problems = {problem: vars(found) for problem, found in sorted(self.found.items())}
        if self.output == "text":
            for problem, found in sorted(self.found.items()):
                if rest := 0 if self.each else max(0, found.count - EXAMPLES):
                    count = f"{found.count} ({amount(found.bytes)})"
                    click.echo(f"{_problem_name(problem)}: {count}, {rest} of them not shown: --list")
        show_line({**self.counts, "problems": problems}, self.output, lambda _: self.summary(sentence))

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
    with click.progressbar(length=0, label=label, file=sys.stderr) as bar:
        walk = Walk(output, bar, each)
        follow(verb, walk.hear, **fields)
    if not walk.complete:
        raise click.ClickException("The service stopped in the middle. Run it again: what is done is done.")
    return walk


def _finding_text(finding: dict[str, Any]) -> str:
    """A finding as a line."""
    problem = _problem_name(finding["problem"])
    key = finding["name"].removeprefix("objects/")
    return line((problem, amount(int(finding["sizeBytes"])), clean(key)), WIDTHS)


def _problem_name(problem: str | int) -> str:
    """A problem as people read it."""
    return enum_word(problem, "PROBLEM_")


def enum_word(value: str | int, prefix: str) -> str:
    """An enum's value as people read it; one that only a newer release knows comes as its number."""
    return str(value).removeprefix(prefix)


def amount(size: float) -> str:
    """A number of bytes as people say it."""
    unit = 0
    while size >= STEP and unit < len(UNITS) - 1:
        size, unit = size / STEP, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"
