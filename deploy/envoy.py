"""Renders the one Envoy template; its numbers and their reasons stand in the template."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from deploy.environment import speaks_text
from deploy.settings import LauncherSettings
from services.chassis.town import LOOPBACK, Resident, port_of

TEMPLATE = "envoy.yaml.j2"


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
        "bind_address": str(settings.bind_address),
        "port": settings.port,
        "loopback": LOOPBACK,
        "admin_port": port_of(Resident.ENVOY_ADMIN, base),
        "gateway_port": port_of(Resident.GATEWAY, base),
        "files_port": port_of(Resident.FILES, base),
        "trusted_hops": settings.trusted_hops,
        "edge_timeout": f"{settings.edge_timeout_seconds:.3f}s",
        "access_log": settings.log_level == "debug",
        "json_log": not speaks_text(settings),
    }
