"""Decides which places the fetcher may connect to, before a single packet is sent there."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from services.chassis.errors import InvalidArgument
from services.storage.addresses import is_public

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_ADDRESSES = 4  # of a vetted host; trying more would only spend the time of the fetch
RESOLVER_THREADS = 4  # threads of its own: a slow name server must not hold up the disk's

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host in ASCII and port to at least one address; raises OSError when the name cannot be resolved now."""


@dataclass(frozen=True)
class Place:
    """Where a URL leads, as the HTTP client read it: nobody parses a URL twice."""

    scheme: str
    host: str
    port: int | None
    has_userinfo: bool

    @property
    def effective_port(self) -> int:
        """The port to connect to; 0 for schemes that we do not speak."""
        return DEFAULT_PORTS.get(self.scheme, 0) if self.port is None else self.port

    @property
    def authority(self) -> str:
        """host:port as OUTBOUND_ALLOW_PRIVATE names it; an IPv6 address stands in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host.lower()}:{self.effective_port}"


def not_allowed(sentence: str) -> InvalidArgument:
    """The refusal of a URL."""
    return InvalidArgument(sentence, "URL_NOT_ALLOWED", metadata={"field": "source_uri"})


class Guard:
    """Vets places: the scheme, the port, and every address that the host's name stands for."""

    def __init__(self, allowed: frozenset[str], resolve: Resolver | None = None) -> None:
        self._allowed = allowed
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")
        self._resolve = resolve or self._getaddrinfo

    async def vet(self, place: Place) -> tuple[str, ...]:
        """Resolve the host once and vet every answer; connect to these addresses only, never to the name.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            OSError: the name cannot be resolved now.
        """
        exempt = place.authority in self._allowed
        _require_form(place, exempt=exempt)
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


def _require_form(place: Place, *, exempt: bool) -> None:
    if place.scheme not in DEFAULT_PORTS or not place.host:
        raise not_allowed("Only http and https URLs can be fetched.")
    if place.has_userinfo:
        raise not_allowed("The URL carries a user name or password. Give it without.")
    if not exempt and place.effective_port not in DEFAULT_PORTS.values():
        raise not_allowed("The URL names an unusual port. Only 80 and 443 can be fetched.")
