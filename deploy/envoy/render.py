"""Renders the one Envoy template; its numbers and their reasons stand in the template."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from deploy.launcher.configuration import speaks_text
from deploy.launcher.preflight import most_files
from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import LOOPBACK, Address, ListenPort, port_of
from services.chassis.client_address import GATHERED_BYTES
from services.chassis.health import READY_PATH
from services.chassis.origins import ANY_ORIGIN, is_only_https

TEMPLATE = "envoy.yaml.j2"
CONFIGURATION = "envoy.yaml"
OWN_FILES = 6000  # the bounds of all clusters for one process behind each, and what Envoy itself opens
ADMIN_SOCKET = "admin.sock"  # in the folder in which Envoy runs: a whole path may be longer than a socket's may be
PROCESSES_PER_NAME = 4  # behind a DNS name, of which we know the bound for all together before we know their number
HTTPS_PORT = 443
# Envoy reads a certificate again only if a file of its own names it, one file for each.
SECRETS = ("public-certificate", "internal-certificate", "internal-authority")
PUBLIC_CERTIFICATE, INTERNAL_CERTIFICATE, INTERNAL_AUTHORITY = SECRETS
Secret = dict[str, object]
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - the type's name


@dataclass(frozen=True)
class Upstream:
    """The processes of one kind that Envoy sends requests to."""

    addresses: tuple[Address, ...]
    identity: str
    """The DNS name in their certificates; empty without TLS, whose library not everybody has to load."""
    given: bool
    """Whether settings name them; else they are the one process beside Envoy, which is never left out."""

    @property
    def named(self) -> bool:
        """Whether DNS has to be asked."""
        return any(not address.version for address in self.addresses)

    @property
    def processes(self) -> int:
        """For how many processes Envoy is prepared."""
        return sum(1 if address.version else PROCESSES_PER_NAME for address in self.addresses)


def render(settings: LauncherSettings) -> str:
    """Envoy's bootstrap configuration as YAML. It names the files of `secrets`, in the folder in which Envoy runs."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(variables(settings))


def files(settings: LauncherSettings) -> dict[str, str]:
    """Every file that Envoy reads in its folder, by name: the configuration and those that name its certificates."""
    return {CONFIGURATION: render(settings), **secrets(settings)}


def secrets(settings: LauncherSettings) -> dict[str, str]:
    """The files that name the certificates, which Envoy reads again when something is renamed beside them."""
    certificate = _certificate(settings.public_tls_cert, settings.public_tls_key)
    own = _certificate(settings.internal_tls_cert, settings.internal_tls_key)
    authority = settings.internal_tls_ca
    roots: Secret = {"validation_context": {"trusted_ca": _source(authority)}} if authority else {}
    found = {PUBLIC_CERTIFICATE: certificate, INTERNAL_CERTIFICATE: own, INTERNAL_AUTHORITY: roots}
    return {_file(name): _document(name, secret) for name, secret in found.items() if secret}


def _certificate(certificate: Path | None, key: Path | None) -> Secret:
    if certificate is None or key is None:
        return {}
    return {"tls_certificate": {"certificate_chain": _source(certificate), "private_key": _source(key)}}


def _source(path: Path) -> dict[str, str]:
    return {"filename": str(path.absolute())}


def _document(name: str, secret: Secret) -> str:
    return json.dumps({"resources": [{"@type": SECRET, "name": name, **secret}]}, indent=2) + "\n"


def _file(secret: str) -> str:
    return f"{secret}.json"


def variables(settings: LauncherSettings) -> dict[str, object]:
    """What the template may name."""
    gateway, stored = upstreams(settings)
    return {
        "bind_address": str(settings.public_address),
        "port": settings.port,
        "admin_socket": ADMIN_SOCKET,
        "gateway": gateway,
        "files": stored,
        "several": gateway.given or stored.given,
        "ready_path": READY_PATH,
        "public_tls": settings.public_tls_cert is not None,
        "public_http_port": settings.public_http_port,
        "https_port": urlsplit(settings.origin).port or HTTPS_PORT,
        "internal_tls": settings.internal_tls_cert is not None,
        # Envoy takes no name of a file alone.
        "secret_files": {name: f"./{_file(name)}" for name in SECRETS},
        "own_host": urlsplit(settings.origin).netloc,
        "trusted_hops": settings.trusted_hops,
        "listed_origins": listed(settings.cors_allowed_origins),
        "only_https": is_only_https(settings.origin),
        "edge_timeout": f"{settings.edge_timeout_seconds:.3f}s",
        "gathered_bytes": min(GATHERED_BYTES, settings.max_json_bytes),
        "max_callback_bytes": settings.max_callback_bytes,
        "max_connections": min(settings.envoy_max_connections, openable(max(gateway.processes, stored.processes))),
        "max_heap_bytes": settings.envoy_max_heap_bytes,
        "access_log": settings.log_level == "debug",
        "json_log": not speaks_text(settings),
    }


def upstreams(settings: LauncherSettings) -> tuple[Upstream, Upstream]:
    """The gateways, and the file listeners of the storage processes."""
    base = settings.internal_port_base

    def of(given: tuple[Address, ...], listener: ListenPort, process: str) -> Upstream:
        addresses = given or (Address(LOOPBACK, port_of(listener, base)),)
        identity = resolve_name("services.chassis.tls:dns_name")(process) if settings.internal_tls_cert else ""
        return Upstream(addresses, identity, bool(given))

    return (
        of(settings.gateway_upstream, ListenPort.GATEWAY, "gateway"),
        of(settings.files_upstream, ListenPort.FILES, "storage"),
    )


def openable(processes: int = 1) -> int:
    """How many connections of clients Envoy may open: what the system allows, less those to our own processes."""
    most = most_files()
    return max(most - OWN_FILES * processes, most // 2)


def listed(origins: Sequence[str]) -> str:
    """A pattern of the origins that may read with credentials; empty when everyone may read without."""
    return "" if tuple(origins) == ANY_ORIGIN else "|".join(map(re.escape, origins))
