"""Decides what of the outside world may be opened, by us or by the provider for us: URLs by their form, and addresses.

No name is resolved here. Addresses are judged by a table of our own, because ipaddress.is_global alone is not enough;
the ranges come from the IANA special-purpose address registries. See docs/security.md#addresses-that-are-fetched.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from services.chassis.addresses import MAX_PORT
from services.chassis.errors import InvalidArgument, invalid_field

DEFAULT_PORTS = {"http": 80, "https": 443}
NOT_ALLOWED = "URL_NOT_ALLOWED"
MAX_LABEL_LENGTH, MAX_HOST_LENGTH = 63, 253  # of a name in the DNS; a longer one cannot exist
PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
PLAIN = r"[^\x00-\x20\x7f-\x9f\ud800-\udfff]"
# One reading only: no name and password before the host, no backslash, no percent sign in the host.
WEB_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[\w.-]{1,255}|\[[0-9a-f.]*:[0-9a-f:.]*\])(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>(?:/[^\x00-\x20\x7f-\x9f\ud800-\udfff?#]*)?)(?:[?#]{PLAIN}*)?",
    re.IGNORECASE,
)
DENIED_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, metadata of some clouds
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
UNICAST_6 = IPv6Network("2000::/3")  # all that is handed out; loopback, ULA, link-local, multicast lie outside
DENIED_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
NAT64 = IPv6Network("64:ff9b::/96")  # the well-known prefix; 64:ff9b:1::/48 is for local use and lies outside 2000::/3
ISATAP = 0x0000_5EFE  # the upper half of an ISATAP interface id, but for its universal bit
UNIVERSAL_BIT = 0x0200_0000
LOW_32 = 0xFFFF_FFFF


def not_allowed(sentence: str, field: str = "source_uri") -> InvalidArgument:
    """The refusal of a URL."""
    return invalid_field(field, sentence, NOT_ALLOWED)


def check_web_url(url: str) -> str:
    """An http(s) address that requests can be sent to, without a query. Raises ValueError."""
    origin = origin_of(url)
    if origin is None or not 0 < origin.effective_port <= MAX_PORT or "?" in url or "#" in url:
        raise ValueError("give an address that begins with https:// or http://, for example https://site.example")
    return url


@dataclass(frozen=True)
class Origin:
    """A URL's scheme, host and port: the host in ASCII, an IPv6 address without its brackets."""

    scheme: str
    host: str
    port: int | None
    has_userinfo: bool = False

    @property
    def effective_port(self) -> int:
        """The port to connect to; 0 for schemes that we do not speak."""
        return DEFAULT_PORTS.get(self.scheme, 0) if self.port is None else self.port

    @property
    def authority(self) -> str:
        """host:port as OUTBOUND_ALLOW_PRIVATE names it; an IPv6 address stands in brackets."""
        name = self.host.lower().rstrip(".")
        return f"[{name}]:{self.effective_port}" if ":" in name else f"{name}:{self.effective_port}"


def origin_of(uri: str) -> Origin | None:
    """The origin of a URL that has one reading only; None for anything else."""
    found = WEB_URL.fullmatch(uri)
    if not found:
        return None
    try:
        host = found["host"].strip("[]").encode("idna").decode("ascii")
    except UnicodeError:  # an empty label, or one that is too long
        return None
    return Origin(found["scheme"].lower(), host.lower(), int(found["port"]) if found["port"] else None)


def require_public(uri: str, allowed: frozenset[str], field: str) -> None:
    """Refuse a URL that another party shall open, or be shown, when its form alone says that it is not public.

    Raises:
        InvalidArgument: URL_NOT_ALLOWED.
    """
    origin = origin_of(uri)
    if origin is None:
        raise not_allowed("The URL cannot be read. Give the full http(s) URL of a picture.", field)
    require_form(origin, exempt=origin.authority in allowed, field=field)


def is_public_url(uri: str, allowed: frozenset[str]) -> bool:
    """True for what require_public takes."""
    try:
        require_public(uri, allowed, "")
    except InvalidArgument:
        return False
    return True


def require_form(origin: Origin, *, exempt: bool, field: str = "source_uri") -> None:
    """Refuse a destination by its form, before any name is resolved; an exempt one may be private, on any port.

    Raises:
        InvalidArgument: URL_NOT_ALLOWED.
    """
    if origin.scheme not in DEFAULT_PORTS or not origin.host:
        raise not_allowed("Only http and https URLs are taken.", field)
    if origin.has_userinfo:
        raise not_allowed("The URL carries a user name or password. Give it without.", field)
    if exempt:
        return
    if origin.effective_port not in DEFAULT_PORTS.values():
        raise not_allowed("The URL names an unusual port. Only 80 and 443 are taken.", field)
    if not _is_host(origin.host):
        raise not_allowed("The URL's host is no name that could exist. Give the full http(s) URL of a picture.", field)
    if is_private(origin.host):
        raise not_allowed("The URL leads to an address that is not public. Give a public http(s) URL.", field)


def is_private(host: str) -> bool:
    """True for addresses that are not public, however they are written, and for names without a public meaning."""
    if address := _address(host):
        return not _is_public(address)
    name = f".{host.rstrip('.').lower()}"
    return name.endswith(PRIVATE_NAMES) or name.count(".") == 1 or name.rpartition(".")[2].isdigit()


def _address(host: str) -> str:
    """The address that a host is, also as one number, in octal, in hex or shortened; empty for a name."""
    if ":" in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return ""


def _is_host(host: str) -> bool:
    name = host.rstrip(".")
    return len(name) <= MAX_HOST_LENGTH and all(0 < len(label) <= MAX_LABEL_LENGTH for label in name.split("."))


def _is_public(address: str) -> bool:
    try:
        return is_public(address)
    except ValueError:  # colons that make no address
        return False


def _split(value: object) -> object:
    return frozenset(filter(None, map(str.strip, value.lower().split(",")))) if isinstance(value, str) else value


def _with_ports(value: frozenset[str]) -> frozenset[str]:
    if any(not entry.rpartition(":")[2].isdigit() for entry in value):
        raise ValueError("each entry must be host:port")  # one without would exempt nothing, silently
    return value


Exempt = Annotated[frozenset[str], NoDecode, BeforeValidator(_split), AfterValidator(_with_ports)]
"""The type of OUTBOUND_ALLOW_PRIVATE: host:port pairs, separated by commas."""


def is_public(address: str) -> bool:
    """True when the address, and the IPv4 address it may hide, belongs to the public internet."""
    parsed = ip_address(address)
    return _public_4(parsed) if isinstance(parsed, IPv4Address) else _public_6(parsed)


def _public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in DENIED_4)


def _public_6(address: IPv6Address) -> bool:
    if address.ipv4_mapped or address in NAT64:
        return _public_4(_low(address))
    allowed = address in UNICAST_6 and not any(address in network for network in DENIED_6)
    return allowed and (not _is_isatap(address) or _public_4(_low(address)))


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & LOW_32 & ~UNIVERSAL_BIT == ISATAP


def _low(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & LOW_32)
