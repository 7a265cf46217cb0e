"""Says whose request it is, by the address that the edge vouches for: what a client says of itself is not believed."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

HEADER = "x-kawaii-client"  # Envoy overwrites it with the client's address, by its own rule of trusted hops
NETWORK_BITS = 64  # of IPv6: what one household or server is given, and may change addresses within as it likes
UNKNOWN = "unknown"  # all of these share one place: a caller that hides must not have a quota of its own each time


def address_of(request: Request) -> str:
    """The client's IPv4 address, or the /64 network of its IPv6 address; UNKNOWN without either."""
    peer = request.client.host if request.client else ""
    try:
        return place_of(ip_address(request.headers.get(HEADER) or peer))
    except ValueError:
        return UNKNOWN


def place_of(address: IPv4Address | IPv6Address) -> str:
    """Where an address belongs; IPv4 written as IPv6 is IPv4."""
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(IPv6Network((int(address), NETWORK_BITS), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
