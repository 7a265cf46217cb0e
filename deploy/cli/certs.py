"""`kawaii certs`: certificates with which the processes trust each other, for people who have no authority."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

from deploy.cli.output import table

AUTHORITY_DAYS, PROCESS_DAYS, MOST_DAYS = 3650, 90, 3650
ALL = "all"

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Where the files lie.",
)
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")


authority_days = click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=AUTHORITY_DAYS, show_default=True, help="How long it is valid."
)
process_days = click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=PROCESS_DAYS,
    show_default=True,
    help="How long each is valid, but no longer than the authority.",
)


@click.group()
def certs() -> None:
    """Make the certificates with which the processes trust each other. Exit 1: a file is missing, there, or expired."""


@certs.command()
@folder_option
@authority_days
@force_option
def init(folder: Path, days: int, *, force: bool) -> None:
    """Make an authority: ca.crt for every machine, ca.key for none of them."""
    authority = _loaded()
    with _sentences():
        authority.write(folder, authority.AUTHORITY, authority.make_authority(days), force=force)
    click.echo(f"{folder}/ca.crt: give it to every process as INTERNAL_TLS_CA.")
    click.echo(f"{folder}/ca.key: keep it where no process runs. Whoever has it can be any process.")


@certs.command()
@click.argument("processes", nargs=-1, required=True, metavar="PROCESS...")
@folder_option
@click.option(
    "--folders",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each process's files, with ca.crt beside them, into a folder of its name below this one.",
)
@process_days
@force_option
def issue(processes: tuple[str, ...], folder: Path, folders: Path | None, days: int, *, force: bool) -> None:
    """Make the certificate of each PROCESS and its key, signed by the authority; `all` stands for every process."""
    known = resolve_name("services.chassis.callers:PROCESSES")
    if unknown := [name for name in processes if name not in (*known, ALL)]:
        raise click.UsageError(f"No process is called {', '.join(unknown)}. There are: {', '.join(known)}.")
    authority = _loaded()
    with _sentences():
        signer = authority.read_authority(folder)
        valid = min(days, authority.days_left(signer))
        for process in known if ALL in processes else dict.fromkeys(processes):
            place = folders / process if folders else folder
            authority.write(place, process, authority.issue(signer, process, valid), force=force)
            if folders:
                authority.write_certificate(place, authority.AUTHORITY, signer)
            about = authority.describe(place / f"{process}.crt")
            click.echo(f"{place}/{process}.crt and .key: {', '.join(about.names)}, until {about.expires}")


@certs.command()
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@folder_option
def show(files: tuple[Path, ...], folder: Path) -> None:
    """Print whose the certificates are and when they expire: those of FILES, or all in the folder. Exit 1: expired."""
    paths = files or sorted(folder.glob("*.crt"))
    if not paths:
        raise click.ClickException(f"There are no certificates in {folder}.")
    with _sentences():
        found = [_loaded().describe(path) for path in paths]
    rows = [(path, ", ".join(each.names), each.expires, each.left) for path, each in zip(paths, found, strict=True)]
    click.echo(table(("FILE", "NAME", "EXPIRES", "LEFT"), rows))
    if any(each.expired for each in found):
        raise SystemExit(1)


def _loaded() -> Any:
    """What makes certificates, loaded only now, so that help is quick."""
    return resolve_name("deploy.cli.authority")


@contextmanager
def _sentences() -> Iterator[None]:
    """Show what the authority cannot do as the command's error."""
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from None
