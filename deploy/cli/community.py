"""`kawaii counters`, `cache`, `artworks` and `reports`: what operators of the community see and do."""

from typing import Any

import click

from deploy.cli.output import ask, clean, moment, output, show, table

COLUMNS = ("ARTWORK", "REPORTED BY", "HIDDEN", "WHEN", "REASON")


@click.group()
def counters() -> None:
    """Prove the counts of likes and favourites."""


@counters.command()
@click.option("--dry-run", is_flag=True, help="Look only.")
@output
def reconcile(output: str, *, dry_run: bool) -> None:
    """Count every like and favourite anew, and mend what is wrong. Exit 0 also when something was."""
    show(ask("ReconcileCounters", dry_run=dry_run), output, _counters_text)


@click.group()
def cache() -> None:
    """Look after the read models in Redis."""


@cache.command()
@output
def rebuild(output: str) -> None:
    """Write the read models anew from the rows."""
    show(ask("RebuildCache"), output, lambda answer: f"{answer['keyCount']} keys were written")


@click.group()
def artworks() -> None:
    """Hide what should not be seen. ARTWORK is its id."""


@artworks.command()
@click.argument("artwork")
@output
def hide(artwork: str, output: str) -> None:
    """Hide an artwork from everybody but its owner."""
    show(ask("HideArtwork", name=_artwork_name(artwork)), output, _artwork_text)


@artworks.command()
@click.argument("artwork")
@output
def unhide(artwork: str, output: str) -> None:
    """Show an artwork again."""
    show(ask("UnhideArtwork", name=_artwork_name(artwork)), output, _artwork_text)


@click.group()
def reports() -> None:
    """See what people reported."""


@reports.command("list")
@click.option("--page-token", default="", help="Where to go on.")
@output
def list_(page_token: str, output: str) -> None:
    """Show the latest reports."""
    show(ask("ListReports", page_size=100, page_token=page_token), output, _reports_text)


def _artwork_name(artwork: str) -> str:
    """The resource name of an artwork's id."""
    return f"artworks/{artwork.removeprefix('artworks/')}"


def _counters_text(answer: dict[str, Any]) -> str:
    """The drift of the counters, and the artworks whose counts were wrong, a line each."""
    lines = [f"{answer['artworkCount']} artworks, drift {answer['drift']}", *answer["artworks"]]
    return "\n".join(lines)


def _artwork_text(artwork: dict[str, Any]) -> str:
    """An artwork as a line: its name, whether it is hidden, its title."""
    mark = "hidden" if artwork["hidden"] else "shown"
    return f"{artwork['name']}: {mark}, {clean(artwork['title'])}"


def _reports_text(answer: dict[str, Any]) -> str:
    """The reports as a table, and the token of the next page."""
    rows = (
        (each["artwork"], each["userId"], "yes" if each["hidden"] else "", moment(each["createTime"]), each["reason"])
        for each in answer["reports"]
    )
    token = answer["nextPageToken"]
    return table(COLUMNS, rows) + (f"\nmore: --page-token {token}" if token else "")
