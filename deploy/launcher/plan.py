"""Turns the settings into a plan: a process of its own, whose end gives back the memory that making a plan takes.

Settings, templates and the table of processes load pydantic, jinja2 and every service's settings. With them the
launcher, which stays, had 30 MB of its own memory (45 MB resident); without them it has 18 MB (28 MB resident). That is
worth one more process at the start. (Private of /proc/self/smaps_rollup, Python 3.11, 2026-11-30.)
"""

import os
import pickle
import secrets
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name

from deploy.envoy import render
from deploy.launcher.configuration import (
    CACHE,
    adopt,
    complaint,
    folder_complaint,
    port_complaint,
    public_tls_complaint,
    shared,
    speaks_text,
    unknown_names,
)
from deploy.launcher.model import ConfigurationError, LaunchError, Plan, Port
from deploy.launcher.processes import (
    DATABASES,
    ENVOY_DIR,
    SETTINGS,
    STACK,
    VALKEY_DIR,
    VALKEY_SECRET,
    Row,
    embeds_valkey,
    every_secret,
)
from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import LOOPBACK, ListenPort, port_of
from services.chassis.migrations import head_of, window_of_file

SANDBOX_NOTE = "sandbox: no KIE key is set, so pictures are drawn here and nothing is billed"
MIGRATE = (sys.executable, "-m", "deploy.cli.main", "migrate")
CONFIGURATION_EXIT = 2
TLS_COMPLAINT = "services.chassis.tls:tls_complaint"  # loaded where there is TLS alone: it brings gRPC along

# Of processes on several machines: here all is on this one.
ELSEWHERE = {"gateway_upstream": (), "files_upstream": ()}
CERTIFICATE_OF_ONE = (
    "INTERNAL_TLS_CERT is the certificate of one process, which runs by itself (kawaii serve). The processes of make "
    "up share this environment and listen on this machine only. Remove the INTERNAL_TLS_ settings here."
)

PASSWORD_FILE = "valkey-password"  # noqa: S105 - a file name
PASSWORD_BYTES = 32


def settle(paths: Iterable[str] = SETTINGS) -> LauncherSettings:
    """Read our own settings, put what they add in force, and make sure that every process accepts its own.

    Raises:
        ConfigurationError: naming every problem once.
    """
    settings = None if complaint(LauncherSettings) else LauncherSettings()
    if settings:
        adopt(settings)  # the processes will see these additions, so their settings are judged with them
    unusable = public_tls_complaint(settings) if settings else ""
    found = dict.fromkeys(filter(None, [unusable]))
    found |= dict.fromkeys(line for path in paths for line in complaint(resolve_name(path)).splitlines())
    if settings and settings.internal_tls_cert and (complained := resolve_name(TLS_COMPLAINT)(settings)):
        found[f"  {complained}"] = None
    if settings:
        found |= dict.fromkeys(
            filter(None, (folder_complaint("DATA_DIR", settings.data_dir), port_complaint(settings)))
        )
    if found or not settings:
        raise ConfigurationError("\n".join(found))
    return settings


def strange_names() -> list[str]:
    """A sentence for each name in .env that no setting has: often a slip, and then the setting is not in force."""
    names = unknown_names([LauncherSettings, *map(resolve_name, SETTINGS)])
    return [
        f".env: no setting is called {name}.{f' Did you mean {similar}?' if similar else ''}"
        for name, similar in names.items()
    ]


def make(settings: LauncherSettings) -> Plan:
    """The plan of these settings.

    Raises:
        LaunchError: when a server is missing for this machine.
        ConfigurationError: certificates of one process are set, which no other could use.
    """
    if settings.internal_tls_cert:
        raise ConfigurationError(CERTIFICATE_OF_ONE)
    settings = settings.model_copy(update=ELSEWHERE)
    rows = [row for row in STACK if row.wanted(settings)]
    secret = valkey_password(settings.data_dir) if embeds_valkey(settings) else ""
    redis = {CACHE: f"redis://:{secret}@{settings.address(ListenPort.VALKEY)}/0"} if secret else {}
    environment = {**os.environ, **redis}
    return Plan(
        origin=settings.origin,
        probe_host=settings.probe_host,
        probe_port=settings.port,
        probe_tls=settings.public_tls_cert is not None,
        data_dir=str(settings.data_dir.absolute()),
        upstream=SANDBOX_NOTE if settings.sandboxed else settings.kie_ai_base_url,
        facts=_facts(settings),
        text=speaks_text(settings),
        environment=shared(every_secret(), environment),
        folders=(str(settings.data_dir / VALKEY_DIR),),
        files={
            **{str(settings.data_dir / ENVOY_DIR / name): text for name, text in render.files(settings).items()},
            str(settings.data_dir / VALKEY_DIR / VALKEY_SECRET): f"requirepass {secret}\n" if secret else "",
        },
        ports=tuple(_ports(settings, rows)),
        processes=tuple(row.process(settings, environment) for row in rows),
        migration=MIGRATE if _stale(settings) else (),
    )


def _facts(settings: LauncherSettings) -> dict[str, str]:
    """What the start says of this configuration, each under its word."""
    orders = {"orders": settings.orders} if settings.orders else {}
    return {"address": settings.listening, "identity": settings.identity, **orders}


def _ports(settings: LauncherSettings, rows: list[Row]) -> Iterator[Port]:
    """Every port the stack will listen on, the public one first."""
    yield Port(str(settings.public_address), settings.port, "the public port", "PORT")
    if settings.public_http_port:
        yield Port(str(settings.public_address), settings.public_http_port, "plain HTTP", "PUBLIC_HTTP_PORT")
    for row in rows:
        for listener in row.listens:
            port = port_of(listener, settings.internal_port_base)
            yield Port(LOOPBACK, port, listener.name.lower(), "INTERNAL_PORT_BASE")


def _stale(settings: LauncherSettings) -> bool:
    """Whether we have databases to bring up to date; PostgreSQL is left to `kawaii migrate`, as others may use it."""
    return not settings.database_url and bool(pending_migrations(DATABASES, settings.data_dir))


def pending_migrations(services: Iterable[str], data_dir: Path) -> list[str]:
    """The services whose schema is older than their code, or does not say yet which code may use it."""
    return [service for service in services if _pending(data_dir / f"{service}.sqlite3", service)]


def _pending(database: Path, service: str) -> bool:
    try:
        return window_of_file(database).is_behind(head_of(service))
    except sqlite3.Error:
        return True  # the migration itself will find out what is wrong, and say it


def valkey_password(data_dir: Path) -> str:
    """The password of the embedded Valkey, made once, in a file below DATA_DIR that only its owner may read.

    Two processes that make it at the same time get the same one.

    Raises:
        LaunchError: the file cannot be written or read.
    """
    file = data_dir / PASSWORD_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _make_password(file)
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise LaunchError(f"The password of Valkey cannot be kept: {error.filename}: {error.strerror}.") from None


def _make_password(file: Path) -> None:
    """Write a whole file under another name first, so that nobody reads half of it; the first link wins."""
    draft = file.with_name(f"{PASSWORD_FILE}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(f"{secrets.token_urlsafe(PASSWORD_BYTES)}\n", encoding="ascii")
    with suppress(FileExistsError):
        file.hardlink_to(draft)
    draft.unlink()


def main() -> None:
    """Write the pickled plan to standard output, or every problem of the configuration to standard error."""
    try:
        sys.stdout.buffer.write(pickle.dumps(make(settle())))
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(CONFIGURATION_EXIT if isinstance(error, ConfigurationError) else 1) from None


if __name__ == "__main__":
    main()
