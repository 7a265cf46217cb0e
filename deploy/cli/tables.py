"""Shows answers to operators: aligned columns for people, JSON for programs."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

GAP = "  "

output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)


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
