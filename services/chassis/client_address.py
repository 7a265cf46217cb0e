"""Says for which client a request counts, by its address, and bounds how many of a kind one client has under way.

Envoy names the address; headers that a client sends about itself are ignored. The bounds are there so that one client
cannot use up what all share.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from services.chassis.errors import ResourceExhausted

HEADER = "x-kawaii-client"  # Envoy overwrites it with the client's address, by its own rule of trusted hops
RAW_HEADER = HEADER.encode()  # as ASGI has it
# Up to this size Envoy gathers a body before it counts: an order's 5,000 characters are 30 KB as JSON escapes. Larger
# ones, and those of unknown length, stream, and count as uploads: gathered they would fill the memory of Envoy.
GATHERED_BYTES = 32 * 1024
NETWORK_BITS = 64  # of IPv6: what one household or server is given, and may change addresses within as it likes
UNKNOWN = "unknown"  # all of these share one place: a caller that hides must not have a bound of its own each time
MAX_KNOWN = 10_000  # addresses whose client is remembered, some 2 MB: reading one takes longer than a cached response
RETRY_SECONDS = 1.0  # places come free as answers are read


@lru_cache(MAX_KNOWN)
def client_of(header: str, peer: str) -> str:
    """The client's IPv4 address, or the /64 network of its IPv6 address; UNKNOWN without either."""
    try:
        return network_of(ip_address(header or peer))
    except ValueError:
        return UNKNOWN


def client_of_scope(scope: Mapping[str, Any]) -> str:
    """The same for an ASGI scope."""
    given = next((value for name, value in scope["headers"] if name == RAW_HEADER), b"")
    return client_of(given.decode("latin-1"), scope["client"][0] if scope.get("client") else "")


def network_of(address: IPv4Address | IPv6Address) -> str:
    """The IPv4 address, or the IPv6 network, for which an address counts; IPv4 written as IPv6 is IPv4."""
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(IPv6Network((int(address), NETWORK_BITS), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


class ClientLimit:
    """So many places for each client; `what` is their plural, for the refusal."""

    def __init__(self, most: int, what: str) -> None:
        self.most = most
        self._what = what
        self._held: dict[str, int] = {}

    def held(self, client: str) -> int:
        """How many places a client holds."""
        return self._held.get(client, 0)

    def take(self, client: str) -> bool:
        """Take a place, unless the client holds all of its own; whoever takes one gives it back."""
        if self.held(client) >= self.most:
            return False
        self._held[client] = self.held(client) + 1
        return True

    def give_back(self, client: str) -> None:
        """Give a place back; a client without places is forgotten."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold a place for as long as the block runs.

        Raises:
            ResourceExhausted: the client holds all of its own (reason TOO_MANY_REQUESTS).
        """
        if not self.take(client):
            raise self.refusal()
        try:
            yield
        finally:
            self.give_back(client)

    def refusal(self) -> ResourceExhausted:
        """The error for a client that wants one place too many."""
        return ResourceExhausted(
            f"Your address has {self.most} {self._what} under way, which is all that one may have. "
            "Wait until some of them have ended.",
            "TOO_MANY_REQUESTS",
            retry_after=RETRY_SECONDS,
        )
