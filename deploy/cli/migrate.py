"""`kawaii migrate`: brings every service's schema up to date, or says what that would do."""

from pkgutil import resolve_name
from typing import Any

import click

PENDING_EXIT = 3  # of --check, when there is something to do
REFUSED_EXIT = 78  # EX_CONFIG of sysexits.h, as a service exits that may not use its schema


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; say what would be done. Exit 3: there is something to do.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=lambda: resolve_name("services.chassis.migrations:WAIT_SECONDS"),
    show_default="ten minutes",
    metavar="SECONDS",
    help="How long to wait for another migration, or for locks that others hold.",
)
def migrate(wait_seconds: float, *, check: bool) -> None:
    """Bring every service's database up to date, beside a running stack too; repeating it changes nothing.

    On SQLite each file is copied to DATA_DIR/backups first. Exit 1: it could not be done now; 78: a schema is too new
    for this release.
    """
    settings = resolve_name("services.chassis.settings:load")(resolve_name("services.chassis.settings:CommonSettings"))
    services = resolve_name("deploy.launcher.processes:DATABASES")
    failure: type[Exception] = resolve_name("services.chassis.migrations:MigrationError")
    try:
        if check:
            raise SystemExit(_check(services, settings))
        _migrate(services, settings, wait_seconds)
    except failure as error:
        raise click.ClickException(str(error)) from None


def _check(services: tuple[str, ...], settings: Any) -> int:
    """Say what would be done; returns the exit code."""
    prospects = [resolve_name("services.chassis.migrations.prospect:prospect_of")(each, settings) for each in services]
    for prospect in prospects:
        click.echo("\n".join(prospect.lines))
    if any(prospect.refusal for prospect in prospects):
        return REFUSED_EXIT
    return PENDING_EXIT if any(prospect.changes for prospect in prospects) else 0


def _migrate(services: tuple[str, ...], settings: Any, wait_seconds: float) -> None:
    """Copy all files that will change, then change them."""
    if not settings.database_url:
        _back_up(services, settings)
    for service in services:
        before, after = resolve_name("services.chassis.migrations:migrate")(
            service, settings, wait_seconds=wait_seconds, tell=lambda line: click.echo(line, err=True)
        )
        came = f", from {before.revision or 'nothing'}" if before.revision != after.revision else ""
        click.echo(f"{service}: up to date (revision {after.revision}{came})")


def _back_up(services: tuple[str, ...], settings: Any) -> None:
    for service in services:
        database = settings.data_dir / f"{service}.sqlite3"
        prospect = resolve_name("services.chassis.migrations.prospect:prospect_of")(service, settings)
        if prospect.changes and prospect.before.revision:
            copy = resolve_name("services.chassis.migrations.backup:back_up")(database, prospect.before.revision)
            click.echo(f"{service}: copied to {copy}")
