"""`kawaii export` and `kawaii import`: all records as one file, with the bytes beside it if wished."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

from deploy.cli.output import output, show

FILE = click.Path(dir_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.option("--bytes", "folder", type=FOLDER, help="Also write every stored original into this folder, by its key.")
@output
def export(file: Path, folder: Path | None, output: str) -> None:
    """Write all records into FILE: models, generations, objects and shares, one JSON document.

    Prompts are in it: keep it as you keep the database. With --bytes, what is in the folder already is not read again,
    and objects whose bytes are lost or damaged are listed; exit 1 if there are any.
    """
    counts: dict[str, Any] = resolve_name("deploy.cli.export_file:exported")(file, folder)
    show(counts, output, _export_text)
    raise SystemExit(bool(counts["missing"]))


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bytes", "folder", type=THERE, help="The folder that `export --bytes` wrote.")
@output
def import_(file: Path, folder: Path | None, output: str) -> None:
    """Take in the generations and shares of FILE, and with --bytes the stored objects; exit 1 if some were refused.

    Ids, times and publish tokens are those of the export. What is here already stays as it is, so it may be repeated;
    what is refused is named with its line and the reason. Pictures that do not come along are copied from the stack
    that exported them by `kawaii storage backfill`.
    """
    counts: dict[str, Any] = resolve_name("deploy.cli.export_file:imported")(file, folder)
    show(counts, output, _import_text)
    raise SystemExit(bool(counts["refused"]))


def _export_text(counts: dict[str, Any]) -> str:
    """What was written, and what is missing, a line each."""
    return "\n".join([f"{counts['objects']} files and all records are written.", *counts["missing"]])


def _import_text(counts: dict[str, Any]) -> str:
    """What was taken in, and what was not, a line each."""
    kinds = ("objects", "generations", "shares")
    lines = [f"{counts[kind]['created']} {kind} taken in, {counts[kind]['known']} known" for kind in kinds]
    if counts["without_bytes"]:
        lines.append(f"{counts['without_bytes']} objects left out: their bytes are not in the folder of --bytes")
    return "\n".join([*lines, *counts["refused"]])
