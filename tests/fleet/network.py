"""Hosts on one machine: network namespaces on a bridge, each with an address, a line that can be cut, and programs."""

import ipaddress
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("ip", "nft", "tc")
CLIENT = 1  # the address of this process's own namespace, which stands for the clients
FIRST_HOST = 11
TABLE = ("inet", "cut")


class NoNamespacesError(Exception):
    """This machine lets us make no hosts; the text says why."""


def run(*words: str) -> str:
    """Run a program to its end; what it printed. Raises subprocess.CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def require_namespaces() -> None:
    """Refuse where no hosts can be made. Raises NoNamespacesError."""
    if os.geteuid() != 0:
        raise NoNamespacesError("hosts are network namespaces, which only root may make")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise NoNamespacesError(f"these programs are missing: {', '.join(missing)} (Debian: iproute2, nftables)")
    try:
        run("ip", "netns", "add", name := f"kw-try-{os.getpid()}")
        run("ip", "netns", "del", name)
    except subprocess.CalledProcessError as error:
        raise NoNamespacesError(f"network namespaces cannot be made: {error.stderr.strip()}") from None


@dataclass
class Host:
    """A machine: its name, its address, and the end of its line that hangs on the bridge."""

    name: str
    namespace: str
    address: str
    line: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def inside(self, *words: str) -> tuple[str, ...]:
        """The command that runs another one on this host; the other takes its place, so that the process id is its."""
        return ("ip", "netns", "exec", self.namespace, *words)

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path
    ) -> "subprocess.Popen[bytes]":
        """Start a program; its output is appended to the log."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.inside(*command), env=dict(environment), stdout=output, stderr=output, cwd=folder
            )
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Take the line away: what is sent either way is lost, and nobody is told."""
        run("ip", "link", "set", self.line, "down")

    def mute(self) -> None:
        """Cut one way: the host hears all, and nothing that it sends arrives."""
        self._drop("output", "ip daddr != 127.0.0.0/8")

    def deafen(self) -> None:
        """Cut the other way: what the host sends arrives, and it hears nothing."""
        self._drop("input", "ip saddr != 127.0.0.0/8")

    def mute_towards(self, other: "Host") -> None:
        """Lose what this host sends to another one."""
        self._drop("output", f"ip daddr {other.address}")

    def lose(self, percent: int) -> None:
        """Lose this share of what the host sends, at random."""
        self._drop("output", f"ip daddr != 127.0.0.0/8 numgen random mod 100 < {percent}")

    def delay(self, milliseconds: int) -> bool:
        """Delay what the host sends; False where the kernel has no netem, which it would take."""
        with suppress(subprocess.CalledProcessError):
            run(*self.inside("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{milliseconds}ms"))
            return True
        return False

    def take_over(self, other: "Host") -> None:
        """Take the address of a host that is cut off, as the address of a primary moves to its standby.

        The others forget whose it was, as a gratuitous ARP makes them.
        """
        bits = run(*other.inside("ip", "-o", "-4", "address", "show", "eth0")).split()[3].rpartition("/")[2]
        run(*self.inside("ip", "address", "add", f"{other.address}/{bits}", "dev", "eth0"))

    def forget_neighbours(self) -> None:
        """Ask anew which line an address is at."""
        run(*self.inside("ip", "neigh", "flush", "all"))

    def mend(self) -> None:
        """Undo all of these."""
        run("ip", "link", "set", self.line, "up")
        for undo in (("nft", "delete", "table", *TABLE), ("tc", "qdisc", "del", "dev", "eth0", "root")):
            with suppress(subprocess.CalledProcessError):
                run(*self.inside(*undo))

    def _drop(self, hook: str, match: str) -> None:
        rules = f"table {' '.join(TABLE)} {{ chain {hook} {{ type filter hook {hook} priority 0; {match} drop; }}; }}"
        run(*self.inside("nft", rules))


class Network:
    """A bridge on which hosts hang. This process's own namespace is on it too."""

    def __init__(self) -> None:
        self._name = f"kw{secrets.token_hex(2)}"
        self.net = ipaddress.ip_network(f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}.0/24")
        self._hosts: list[Host] = []

    @property
    def client(self) -> str:
        """The address of this process's own namespace."""
        return str(self.net[CLIENT])

    def open(self) -> None:
        """Make the bridge."""
        run("ip", "link", "add", self._name, "type", "bridge")
        run("ip", "address", "add", f"{self.client}/{self.net.prefixlen}", "dev", self._name)
        run("ip", "link", "set", self._name, "up")

    def host(self, name: str) -> Host:
        """Make a host."""
        number = len(self._hosts)
        host = Host(name, f"{self._name}-{name}", str(self.net[FIRST_HOST + number]), f"{self._name}v{number}")
        run("ip", "netns", "add", host.namespace)
        self._hosts.append(host)
        run("ip", "link", "add", host.line, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        run("ip", "link", "set", host.line, "master", self._name, "up")
        run(*host.inside("ip", "link", "set", "lo", "up"))
        run(*host.inside("ip", "address", "add", f"{host.address}/{self.net.prefixlen}", "dev", "eth0"))
        run(*host.inside("ip", "link", "set", "eth0", "up"))
        return host

    def close(self) -> None:
        """Remove hosts and bridge; the hosts' programs have ended."""
        for host in self._hosts:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", host.namespace)
        with suppress(subprocess.CalledProcessError):
            run("ip", "link", "del", self._name)


@contextmanager
def network() -> Iterator[Network]:
    """A network without hosts, which goes with all that hangs on it. Raises NoNamespacesError."""
    require_namespaces()
    made = Network()
    try:
        made.open()
        yield made
    finally:
        made.close()
