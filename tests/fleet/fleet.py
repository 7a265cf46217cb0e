"""A fleet: an edge with Envoy, two of each process of ours, the engines and the provider, each on a host of its own."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deploy.launcher.processes import SUBMIT_STOP_SECONDS, entry, envoy_binary
from tests.e2e.stack import ROOT
from tests.fleet.engines import Bucket, Cache, Server
from tests.fleet.network import Host, Network, network
from tests.support.polling import until
from tests.support.postgres import Postgres, postgres

SERVICES = ("storage", "share", "generation", "community")
KINDS = (*SERVICES, "gateway")
RPC, HTTP, FILES, METRICS, PUBLIC, SANDBOX = 50_051, 8000, 8001, 9100, 8080, 8002
START_SECONDS = 240.0  # two cores start thirteen processes
STOP_SECONDS = SUBMIT_STOP_SECONDS
SERVING = {"serving", "degraded"}
SECRET = "a-secret-of-the-tests-that-signs-in-everybody"
PROVIDER_KEY = "sandbox-fleet"
INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


@dataclass
class Member:
    """One process of ours on its host. It is told by settings alone; `code` and `python` are whose code it runs."""

    kind: str
    host: Host
    folder: Path
    settings: dict[str, str]
    python: str = sys.executable
    code: Path = ROOT
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def metrics(self) -> str:
        """The base URL of its metrics and its health."""
        return f"http://{self.host.address}:{METRICS}"

    def start(self) -> None:
        """Start the process; it may not run."""
        assert self.process is None
        command = (self.python, *entry(self.kind)[1:])
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | self.settings
        self.process = self.host.start(command, environment, self.folder / "log", self.code)

    def ready(self) -> bool:
        """Whether it says that it takes work. Raises AssertionError when it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended: {(self.folder / 'log').read_text()[-3000:]}"
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.metrics}/readyz", timeout=5).text.strip() in SERVING
        return False

    def await_ready(self) -> None:
        """Wait until it takes work."""
        until(lambda: self.ready() or None, START_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in good order, start it again, and wait until it takes work."""
        code = self.stop()
        assert code == 0, f"{self.name} ended with {code}: {(self.folder / 'log').read_text()[-3000:]}"
        self.start()
        self.await_ready()

    def calls(self) -> float:
        """Calls that it has begun to answer, of clients, since its start; health checks are not counted."""
        return sum(map(_calls_of, until(self._scrape).splitlines()))

    def _scrape(self) -> str | None:
        """Its metrics; None when a busy machine gave it no time to answer."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.metrics}/metrics", timeout=10).raise_for_status().text
        return None

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not stop within {STOP_SECONDS:.0f} s") from None


def _calls_of(line: str) -> float:
    """The value of a sample that counts calls of clients; 0 for any other line."""
    counted = line.startswith(("grpc_server_started_total{", "http_requests_total{"))
    return float(line.rpartition(" ")[2]) if counted and "grpc.health" not in line and "reflection" not in line else 0.0


@dataclass
class Fleet:
    """All hosts, and how the client, this process, reaches them."""

    network: Network
    folder: Path
    database: Postgres
    cache: Cache
    bucket: Bucket
    hosts: dict[str, Host]
    exits: ExitStack
    sandbox: Server
    members: dict[str, Member] = field(default_factory=dict)
    envoy: "Server | None" = None

    @property
    def url(self) -> str:
        """The public origin."""
        return f"http://{self.hosts['edge'].address}:{PUBLIC}"

    @property
    def sandbox_url(self) -> str:
        """The provider, with its ledger and its scripts."""
        return f"http://{self.hosts['provider'].address}:{SANDBOX}"

    def of(self, kind: str) -> list[Member]:
        """The replicas of one kind."""
        return [member for member in self.members.values() if member.kind == kind]

    def ledger(self) -> list[dict[str, Any]]:
        """What the provider has billed."""
        answer = httpx.get(f"{self.sandbox_url}/sandbox/ledger", timeout=30).raise_for_status().json()
        return list(answer["entries"])

    def fail_over(self) -> None:
        """Lose PostgreSQL's machine; its standby is promoted, and takes over its address."""
        first, second = self.hosts["database"], self.hosts["standby"]
        standby = self.exits.enter_context(self.database.standby(second.address, second.inside()))
        first.cut()
        self.database.crash()
        standby.promote()
        second.take_over(first)
        for host in self.hosts.values():
            host.forget_neighbours()
        self.database = standby

    def drift(self) -> int:
        """How far the counts of likes and favourites are from their rows, as the operator's command finds it."""
        settings = self.of("gateway")[0].settings | tls(self.folder / "certificates", "operator")
        command = [sys.executable, "-m", "deploy.cli.main", "counters", "reconcile", "--dry-run", "-o", "json"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["drift"])

    def await_ready(self) -> None:
        """Wait until every member takes work and the edge answers for all of them."""
        for member in self.members.values():
            member.await_ready()
        until(self._serves, START_SECONDS)

    def _serves(self) -> bool | None:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == httpx.codes.OK or None
        return None


Change = Callable[[str, dict[str, str]], None]
"""Changes the settings of a member before it first starts, by its kind."""


@contextmanager
def fleet(folder: Path, *, replicas: int = 2, change: Change = lambda _kind, _settings: None) -> Iterator[Fleet]:
    """A fleet that serves, with mutual TLS between its processes. Raises NoNamespacesError."""
    with ExitStack() as stack:
        net = stack.enter_context(network())
        names = ["edge", "database", "standby", "cache", "bucket", "provider"]
        names += [f"{kind}-{number}" for kind in KINDS for number in range(1, replicas + 1)]
        hosts = {name: net.host(name) for name in names}
        for host in hosts.values():
            stack.callback(_end_all, host)
        database = stack.enter_context(postgres(hosts["database"].address, hosts["database"].inside(), str(net.net)))
        cache = stack.enter_context(_running(Cache(hosts["cache"], folder)))
        bucket = stack.enter_context(_running(Bucket(hosts["bucket"], folder)))
        certificates = make_certificates(folder / "certificates")
        sandbox = Server(hosts["provider"], entry("sandbox"), _sandbox(hosts["provider"], folder), folder / "sandbox")
        made = Fleet(net, folder, database, cache, bucket, hosts, stack, sandbox)
        shared = _shared(made, hosts, replicas)
        _migrate(folder, shared)
        for kind in KINDS:
            for number in range(1, replicas + 1):
                host = hosts[f"{kind}-{number}"]
                made.members[host.name] = _member(made, kind, host, shared, certificates, change)
        stack.enter_context(_running(sandbox))
        stack.callback(lambda: [member.kill() for member in made.members.values()])
        for member in made.members.values():
            member.start()
        made.envoy = _edge(made, shared, certificates, hosts["edge"])
        stack.enter_context(_running(made.envoy))
        made.await_ready()
        yield made


def make_certificates(folder: Path) -> Path:
    """An authority and a certificate of each process, as an operator makes them."""
    for words in (("init",), ("issue", "all")):
        command = [sys.executable, "-m", "deploy.cli.main", "certs", *words, "--dir", str(folder)]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return folder


def renew_certificates(fleet: Fleet) -> None:
    """Replace the certificate of every process, as an operator does."""
    command = [sys.executable, "-m", "deploy.cli.main", "certs", "issue", "all", "--force"]
    subprocess.run([*command, "--dir", str(fleet.folder / "certificates")], check=True, capture_output=True, cwd=ROOT)


def tls(certificates: Path, process: str) -> dict[str, str]:
    """The settings of one identity."""
    return {
        "INTERNAL_TLS_CERT": str(certificates / f"{process}.crt"),
        "INTERNAL_TLS_KEY": str(certificates / f"{process}.key"),
        "INTERNAL_TLS_CA": str(certificates / "ca.crt"),
    }


def _shared(made: Fleet, hosts: Mapping[str, Host], replicas: int) -> dict[str, str]:
    """What every process is told."""

    def all_of(kind: str, port: int) -> str:
        return ",".join(f"{hosts[f'{kind}-{number}'].address}:{port}" for number in range(1, replicas + 1))

    return {
        "APP_URL": made.url,
        "DATABASE_URL": made.database.create_database(),
        "REDIS_URL": made.cache.url,
        "SIGNING_KEY": secrets.token_urlsafe(32),
        "LOG_FORMAT": "json",
        # The load stands for many people, and comes from one address; the sandbox takes 200 creates in a window.
        "RATE_LIMITS_ENABLED": "0",
        "MAX_REQUESTS_PER_CLIENT": "4096",
        "GENERATION_CREATES_PER_WINDOW": "180",
        **{f"{kind.upper()}_TARGET": all_of(kind, RPC) for kind in SERVICES},
        "GATEWAY_UPSTREAM": all_of("gateway", HTTP),
        "FILES_UPSTREAM": all_of("storage", FILES),
        "KIE_AI_API_KEY": PROVIDER_KEY,
        "KIE_AI_BASE_URL": made.sandbox_url,
        "OUTBOUND_ALLOW_PRIVATE": f"{hosts['provider'].address}:{SANDBOX}",
        "SITE_DAILY_ORDERS": "0",
        "SIGN_IN_CONFIGURED": "1",
        "AUTH_HS256_SECRET": SECRET,
        "READ_CACHE_SECONDS": "0",
        **made.bucket.settings(),
    }


def _member(
    made: Fleet, kind: str, host: Host, shared: Mapping[str, str], certificates: Path, change: Change
) -> Member:
    folder = made.folder / host.name
    folder.mkdir()
    settings = {
        **shared,
        "LISTEN_HOST": host.address,
        "LISTEN_PORT": str(HTTP if kind == "gateway" else RPC),
        "METRICS_PORT": str(METRICS),
        "FILES_PORT": str(FILES),
        "DATA_DIR": str(folder / "data"),
        **tls(certificates, kind),
    }
    change(kind, settings)
    return Member(kind, host, folder, settings)


def _sandbox(host: Host, folder: Path) -> dict[str, str]:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return environment | {
        "LISTEN_HOST": host.address,
        "LISTEN_PORT": str(SANDBOX),
        "INTERNAL_INSECURE": "1",
        "DATA_DIR": str(folder / "sandbox-data"),
        "SANDBOX_BASE_URL": f"http://{host.address}:{SANDBOX}",
        "SANDBOX_GENERATION_SECONDS": "0.5",
        "SANDBOX_IMAGE_SIDE": "128",
        "SANDBOX_CREDITS": "100000",
        "SANDBOX_CREATE_LIMIT": "200",
    }


def _migrate(folder: Path, shared: Mapping[str, str]) -> None:
    environment = {**os.environ, **shared, "DATA_DIR": str(folder / "migrate")}
    command = [sys.executable, "-m", "deploy.cli.main", "migrate"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _edge(made: Fleet, shared: Mapping[str, str], certificates: Path, edge: Host) -> Server:
    """Envoy, with the configuration that `kawaii envoy render` writes."""
    folder = made.folder / "edge"
    environment = {**os.environ, **shared, **tls(certificates, "envoy"), "PORT": str(PUBLIC), "BIND_ADDRESS": "0.0.0.0"}
    command = [sys.executable, "-m", "deploy.cli.main", "envoy", "render", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = (envoy_binary(), "-c", "envoy.yaml", "--disable-hot-restart", "--log-level", "warn", "--concurrency", "1")
    return Server(edge, program, {"PATH": os.environ["PATH"]}, folder)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _end_all(host: Host) -> None:
    """End what still runs on a host."""
    for process in host.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
