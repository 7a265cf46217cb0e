"""Tells public addresses from all others by a table of our own, because ipaddress.is_global alone is not enough.

Source of the ranges: the IANA special-purpose address registries. What is judged by them, and why is_global is not:
docs/security.md#addresses-that-are-fetched.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

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
