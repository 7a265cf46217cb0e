"""Turns the settings into a plan and prints it: a process of its own, so that the launcher stays at 20 MB, not 40."""

import os
import sys
from collections.abc import Iterator

from deploy.envoy import render
from deploy.launcher.configuration import settle
from deploy.launcher.environment import CACHE, shared, speaks_text
from deploy.launcher.errors import ConfigurationError, LaunchError
from deploy.launcher.migrations import pending
from deploy.launcher.model import Plan, Port, to_json
from deploy.launcher.processes import (
    DATABASES,
    ENVOY_CONFIG,
    ENVOY_DIR,
    STACK,
    VALKEY_DIR,
    VALKEY_SECRET,
    Row,
    embeds_valkey,
    every_secret,
)
from deploy.launcher.settings import LauncherSettings
from deploy.launcher.valkey_password import password
from services.chassis.listen_addresses import LOOPBACK, ListenPort, port_of

SANDBOX_NOTE = "sandbox: no KIE key is set, so pictures are drawn here and nothing is billed"
MIGRATE = (sys.executable, "-m", "deploy.cli.main", "migrate")
CONFIGURATION_EXIT = 2


def make(settings: LauncherSettings) -> Plan:
    """Everything that the launcher needs to know.

    Raises:
        LaunchError: when a server is missing for this machine.
    """
    rows = [row for row in STACK if row.wanted(settings)]
    secret = password(settings.data_dir) if embeds_valkey(settings) else ""
    redis = {CACHE: f"redis://:{secret}@{settings.address(ListenPort.VALKEY)}/0"} if secret else {}
    environment = {**os.environ, **redis}
    return Plan(
        origin=settings.origin,
        probe_host=settings.probe_host,
        probe_port=settings.port,
        data_dir=str(settings.data_dir.absolute()),
        upstream=SANDBOX_NOTE if settings.sandboxed else settings.kie_ai_base_url,
        facts=facts(settings),
        text=speaks_text(settings),
        environment=shared(every_secret(), environment),
        folders=(str(settings.data_dir / VALKEY_DIR),),
        files={
            str(settings.data_dir / ENVOY_DIR / ENVOY_CONFIG): render.render(settings),
            str(settings.data_dir / VALKEY_DIR / VALKEY_SECRET): f"requirepass {secret}\n" if secret else "",
        },
        ports=tuple(ports(settings, rows)),
        processes=tuple(row.process(settings, environment) for row in rows),
        migration=MIGRATE if stale(settings) else (),
    )


def facts(settings: LauncherSettings) -> dict[str, str]:
    """What the start says of this configuration, by a word for each."""
    orders = {"orders": settings.orders} if settings.orders else {}
    return {"address": settings.listening, "identity": settings.identity, **orders}


def ports(settings: LauncherSettings, rows: list[Row]) -> Iterator[Port]:
    """Every port the stack will listen on, the public one first."""
    yield Port(str(settings.public_address), settings.port, "the public port", "PORT")
    for row in rows:
        for listener in row.listens:
            port = port_of(listener, settings.internal_port_base)
            yield Port(LOOPBACK, port, listener.name.lower(), "INTERNAL_PORT_BASE")


def stale(settings: LauncherSettings) -> bool:
    """Whether we have databases to bring up to date; PostgreSQL is left to `kawaii migrate`, as others may use it."""
    return not settings.database_url and bool(pending(DATABASES, settings.data_dir))


def main() -> None:
    """Print the plan, or every problem of the configuration."""
    try:
        sys.stdout.write(to_json(make(settle())))
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIGURATION_EXIT if isinstance(error, ConfigurationError) else 1) from None


if __name__ == "__main__":
    main()
