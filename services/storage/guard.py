"""SSRF guard: decides to which hosts the fetcher may connect, before a single packet is sent."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from services.chassis.addresses import is_public
from services.chassis.outbound import DEFAULT_PORTS, Place, not_allowed, place_of, require_form

MAX_ADDRESSES = 4  # of a vetted host; trying more would only spend the time of the fetch
RESOLVER_THREADS = 4  # threads of its own: a slow name server must not hold up the disk's

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host in ASCII and port to at least one address; raises OSError when the name cannot be resolved now."""


def authorities_of(origin: str) -> frozenset[str]:
    """All host:port pairs of our own origin: behind an edge with TLS it answers without TLS too."""
    place = place_of(origin)
    if place is None:
        return frozenset()
    if place.effective_port != DEFAULT_PORTS[place.scheme]:
        return frozenset({place.authority})
    return frozenset(Place(scheme, place.host, None).authority for scheme in DEFAULT_PORTS)


class Guard:
    """Vets a URL's scheme, port, and every address to which its host resolves.

    `allowed` are the exempt host:port pairs, `own` those of our own origin, from which nothing is ever fetched.
    """

    def __init__(
        self, allowed: frozenset[str], resolve: Resolver | None = None, own: frozenset[str] = frozenset()
    ) -> None:
        self._allowed = allowed
        self._own = own - allowed
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")
        self._resolve = resolve or self._getaddrinfo

    async def vet(self, place: Place) -> tuple[str, ...]:
        """Vet a host for a fetch; connect only to the addresses that this returns, never to the name.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            OSError: the name cannot be resolved now.
        """
        if place.authority in self._own:
            raise not_allowed("The URL leads back to this site, but names none of its stored pictures.")
        return await self.look_up(place)

    async def look_up(self, place: Place) -> tuple[str, ...]:
        """Resolve the host once and vet every answer.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            OSError: the name cannot be resolved now.
        """
        exempt = place.authority in self._allowed
        require_form(place, exempt=exempt)
        addresses = await self._resolve(place.host, place.effective_port)
        if not exempt and not all(map(is_public, addresses)):
            raise not_allowed("The URL leads to an address that is not public. Give a public http(s) URL.")
        return tuple(addresses[:MAX_ADDRESSES])

    async def _getaddrinfo(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        name = host.encode("ascii")  # as bytes, or Python would encode it a second time
        look_up = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
