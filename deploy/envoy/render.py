"""Renders the one Envoy template; its numbers and their reasons stand in the template."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from deploy.launcher.configuration import speaks_text
from deploy.launcher.preflight import most_files
from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import LOOPBACK, ListenPort, port_of
from services.chassis.client_address import GATHERED_BYTES
from services.chassis.origins import ANY_ORIGIN

TEMPLATE = "envoy.yaml.j2"
OWN_FILES = 6000  # the bounds of all clusters together, and what Envoy itself opens
ADMIN_SOCKET = "admin.sock"  # in the folder in which Envoy runs: a whole path may be longer than a socket's may be


def render(settings: LauncherSettings) -> str:
    """Envoy's bootstrap configuration as YAML."""
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


def variables(settings: LauncherSettings) -> dict[str, object]:
    """What the template may name."""
    base = settings.internal_port_base
    return {
        "bind_address": str(settings.public_address),
        "port": settings.port,
        "loopback": LOOPBACK,
        "admin_socket": ADMIN_SOCKET,
        "gateway_port": port_of(ListenPort.GATEWAY, base),
        "files_port": port_of(ListenPort.FILES, base),
        "own_host": urlsplit(settings.origin).netloc,
        "trusted_hops": settings.trusted_hops,
        "listed_origins": listed(settings.cors_allowed_origins),
        "only_https": settings.origin.startswith("https://"),
        "edge_timeout": f"{settings.edge_timeout_seconds:.3f}s",
        "gathered_bytes": min(GATHERED_BYTES, settings.max_json_bytes),
        "max_callback_bytes": settings.max_callback_bytes,
        "max_connections": min(settings.envoy_max_connections, openable()),
        "max_heap_bytes": settings.envoy_max_heap_bytes,
        "access_log": settings.log_level == "debug",
        "json_log": not speaks_text(settings),
    }


def openable() -> int:
    """How many connections of clients Envoy may open: what the system allows, less those to our own processes."""
    most = most_files()
    return max(most - OWN_FILES, most // 2)


def listed(origins: Sequence[str]) -> str:
    """A pattern of the origins that may read with credentials; empty when everyone may read without."""
    return "" if tuple(origins) == ANY_ORIGIN else "|".join(map(re.escape, origins))
