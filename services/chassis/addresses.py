"""Where each process listens, and the addresses at which processes find each other.

On one machine everything follows from INTERNAL_PORT_BASE, on loopback, so that stacks can run side by side. A process
that runs alone is told by LISTEN_HOST and the …_PORT settings where it listens, and by the …_TARGET and …_UPSTREAM
settings where it finds the others (services/chassis/settings.py).
"""

import errno
import ipaddress
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ListenPort(IntEnum):
    """Offset of each listener from INTERNAL_PORT_BASE."""

    GATEWAY = 0
    GENERATION = 1
    STORAGE = 2
    SHARE = 3
    COMMUNITY = 4
    FILES = 5  # the storage service's HTTP listener for public bytes
    SANDBOX = 6
    VALKEY = 7
    GATEWAY_METRICS = 10  # a process's metrics are ten above the process
    GENERATION_METRICS = 11
    STORAGE_METRICS = 12
    SHARE_METRICS = 13
    COMMUNITY_METRICS = 14


LOOPBACK = "127.0.0.1"
DNS = "dns:///"
MAX_ADDRESSES = 64  # of one target or upstream; more replicas than that have a name of their own
MAX_PORT = 65_535
TAKEN_SECONDS = 3.0  # a process that was just ended may hold its port for a moment
TAKEN_PAUSE_SECONDS = 0.1
NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?\Z"
)


@dataclass(frozen=True)
class Address:
    """A host, by its DNS name or IP address (of version 6 without brackets), and a port."""

    host: str
    port: int

    @property
    def version(self) -> int:
        """4 or 6 for an IP address; 0 for a name."""
        try:
            return ipaddress.ip_address(self.host).version
        except ValueError:
            return 0

    def __str__(self) -> str:
        """The form in which URLs and gRPC take it."""
        return f"[{self.host}]:{self.port}" if self.version == 6 else f"{self.host}:{self.port}"  # noqa: PLR2004 - IPv6


def port_of(listener: ListenPort, base: int) -> int:
    """The port at which a listener of a whole stack listens."""
    return base + listener


def address_of(listener: ListenPort, base: int) -> str:
    """Host and port of a listener of a whole stack, as gRPC and URLs take them."""
    return f"{LOOPBACK}:{port_of(listener, base)}"


def parse_address(text: str) -> Address:
    """Read `host:port` or `[IPv6]:port`. Raises ValueError with a sentence."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise ValueError(f"give host:port with a port from 1 to {MAX_PORT}")
    address = Address(bare.lower(), int(port))
    if bracketed != (address.version == 6):  # noqa: PLR2004 - IPv6
        raise ValueError("an IPv6 address, and nothing else, stands in brackets, as [::1]:50051")
    if not address.version and (
        not NAME.match(address.host) or address.host.rstrip(".").rpartition(".")[2].isdecimal()
    ):
        raise ValueError("the host is neither a DNS name nor an IP address")
    return address


def parse_upstreams(text: str) -> tuple[Address, ...]:
    """Read `host:port[,host:port…]`, each a DNS name or an IP address; empty for an empty text.

    Raises:
        ValueError: with a sentence; also for the same address twice, and for more than MAX_ADDRESSES.
    """
    if not text.strip():
        return ()
    addresses = tuple(map(parse_address, text.split(",")))
    if len(set(addresses)) != len(addresses):
        raise ValueError("it names the same address twice")
    if len(addresses) > MAX_ADDRESSES:
        raise ValueError(f"it names more than {MAX_ADDRESSES} addresses; give one DNS name that has them all")
    return addresses


def parse_target(text: str) -> str:
    """Read a gRPC target: `dns:///name:port`, `name:port`, or a list of IP addresses `ip:port[,ip:port…]`.

    Returns the URI that gRPC takes. All addresses of a name, and of a list, are replicas of one service. gRPC resolves
    one name for a channel, so that a list has addresses only, all of one version of IP.

    Raises:
        ValueError: with a sentence.
    """
    scheme, slashes, rest = text.strip().partition("//")
    if slashes:
        authority, slash, endpoint = rest.partition("/")
        if scheme != "dns:" or not slash:
            raise ValueError("give dns:///name:port, or host:port[,host:port…]")
        if authority:
            parse_address(authority)
        return f"dns://{authority}/{parse_address(endpoint)}"
    addresses = parse_upstreams(re.sub(r"^\s*ipv[46]:", "", text))  # as gRPC itself writes them
    versions = {address.version for address in addresses}
    if versions == {0} and len(addresses) == 1:
        return f"{DNS}{addresses[0]}"
    if not versions or 0 in versions or len(versions) > 1:
        raise ValueError(
            "a list names IP addresses of one version; replicas that have names get one DNS name for all of them"
        )
    return f"ipv{versions.pop()}:{','.join(map(str, addresses))}"


def names_in(target: str) -> tuple[Address, ...]:
    """The DNS name of a target as `parse_target` returns it; none where it consists of IP addresses.

    A target that names its own DNS server is left to gRPC.
    """
    return (parse_address(target.removeprefix(DNS)),) if target.startswith(DNS) else ()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host that is given as an IP address."""
    return ipaddress.ip_address(host).is_loopback


def unresolved(addresses: Sequence[Address]) -> str:
    """The first host of which DNS says that it does not exist, or an empty string. Blocks while DNS is asked.

    A DNS server that is away says nothing about the name, so that the process starts and asks again.
    """
    for address in addresses:
        try:
            socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
                return address.host
    return ""


def taken(host: str, port: int) -> str:
    """Why nobody can listen there, or an empty string. Waits TAKEN_SECONDS at most for a port that is in use."""
    ends = time.monotonic() + TAKEN_SECONDS
    while reason := _refusal(host, port):
        if reason.errno != errno.EADDRINUSE or time.monotonic() >= ends:
            return (reason.strerror or str(reason)).lower()
        time.sleep(TAKEN_PAUSE_SECONDS)
    return ""


def _refusal(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError as error:
            return error
    return None
