"""The `kawaii` command; each verb loads what it needs only when it runs, so that help is quick."""

import os
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

from deploy.cli.certs import certs
from deploy.cli.community import artworks, cache, counters, reports
from deploy.cli.export import export, import_
from deploy.cli.keys import keys
from deploy.cli.migrate import migrate
from deploy.cli.storage import storage
from deploy.cli.tasks import tasks
from deploy.launcher.model import ConfigurationError

CONFIGURATION_EXIT = 2


@click.group()
def main() -> None:
    """Run and look after a kawaii stack."""


main.add_command(migrate)
main.add_command(tasks)
main.add_command(keys)
main.add_command(storage)
main.add_command(certs)
main.add_command(export)
main.add_command(import_)
for group in (artworks, cache, counters, reports):
    main.add_command(group)


@main.command()
def up() -> None:
    """Start the whole stack on this machine and keep it running."""
    run: Callable[[], int] = resolve_name("deploy.launcher.run:run")
    raise SystemExit(run())


@main.command()
@click.argument("name")
def serve(name: str) -> None:
    """Run one process until it is stopped: gateway, storage, share, generation, community or sandbox.

    The …_TARGET settings say where it finds the others, LISTEN_HOST and the …_PORT settings where it listens.
    """
    modules = resolve_name("deploy.launcher.processes:MODULES")
    if name not in modules:
        resolve_name("services.chassis.settings:refuse")(f"There is no process {name}; there are {', '.join(modules)}.")
    inherited: dict[str, str] = resolve_name("deploy.launcher.configuration:INHERITED")
    command: tuple[str, ...] = resolve_name("deploy.launcher.processes:entry")(name)
    os.execve(command[0], command, inherited | os.environ)  # noqa: S606 - this process becomes the other: no shell


@main.group("signing-key")
def signing_key() -> None:
    """See to SIGNING_KEY, which all storage and community processes share."""


@signing_key.command("forget")
def forget_signing_key() -> None:
    """Let the next start decide which SIGNING_KEY is right, when the former one is lost.

    Upload links and picture URLs that the lost key signed are refused from then on, and people who were erased under it
    may come back with a token from before.
    """
    settings = _settings("services.chassis.settings:CommonSettings")
    forget: Callable[[str, Any], bool] = resolve_name("services.chassis.signing_keys:forget_key")
    for service in resolve_name("services.chassis.signing_keys:SIGNERS"):
        click.echo(f"{service}: {'forgotten' if forget(service, settings) else 'none was known'}")


@main.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
def check() -> None:
    """Name every problem of every process's settings, and exit 2 if there is one; warn of unknown names in .env."""
    for sentence in resolve_name("deploy.launcher.plan:strange_names")():
        click.echo(sentence, err=True)
    try:
        resolve_name("deploy.launcher.plan:settle")()
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        raise SystemExit(CONFIGURATION_EXIT) from None
    click.echo("ok")


@main.group()
def envoy() -> None:
    """Look at Envoy, which listens on the public port."""


@envoy.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def render(folder: Path | None) -> None:
    """Print Envoy's configuration for the present settings, or write it into FOLDER with the files that it names.

    There are such files where certificates are set. Envoy runs in that folder: cd FOLDER && envoy -c envoy.yaml
    """
    settings = _settings("deploy.launcher.settings:LauncherSettings")
    refuse = resolve_name("services.chassis.settings:refuse")
    if wrong := resolve_name("deploy.launcher.configuration:public_tls_complaint")(settings):
        refuse(wrong)
    if settings.internal_tls_cert:
        resolve_name("services.chassis.tls:internal_tls")(settings, "envoy")
    for name in ("gateway_upstream", "files_upstream"):
        if host := resolve_name("services.chassis.addresses:unresolved")(getattr(settings, name)):
            refuse(f"{name.upper()}: there is no host {host}. Correct the name, or its DNS record.")
    files: dict[str, str] = resolve_name("deploy.envoy.render:files")(settings)
    if folder:
        _write(folder, files)
        return
    main_file, *others = files
    click.echo(files[main_file], nl=False)
    if others:
        click.echo(f"It reads {', '.join(others)}, which `kawaii envoy render FOLDER` writes beside it.", err=True)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files into a folder, each whole at any moment: Envoy may be reading them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_text(text, encoding="utf-8")
            draft.replace(folder / name)
            click.echo(folder / name)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}.") from None


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(installed("kawaii"))


def _settings(kind: str) -> Any:
    return resolve_name("services.chassis.settings:load")(resolve_name(kind))


if __name__ == "__main__":
    main()
