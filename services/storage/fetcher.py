"""The outbound HTTP fetcher: each hop is vetted, pinned to the vetted addresses and bounded in time.

The guard decides to which hosts the fetcher may connect, before a single packet is sent (SSRF protection):
docs/security.md#addresses-that-are-fetched.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpx

from services.chassis.errors import NotFound, Unavailable
from services.chassis.outbound import DEFAULT_PORTS, Origin, is_public, not_allowed, origin_of, require_form
from services.storage.ports import Fetchers
from services.storage.settings import StorageSettings

OK = 200
GONE = (403, 404, 410)  # a link that expired (403 on signed URLs) or never was; everything else may pass
MOVED = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3  # docs/security.md#addresses-that-are-fetched
CHECK_SECONDS = 2.0  # for one look-up of a name: somebody waits for it with an order in hand
CONNECTED = "connection.connect_tcp.complete"  # httpcore's word for a connection that has carried nothing yet
HEADERS = {
    # Picture hosts turn away what does not look like a browser.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept": "image/png,image/jpeg,image/webp,image/gif,*/*;q=0.1",
    "Accept-Encoding": "identity",  # what is not compressed cannot be a decompression bomb
}
MAX_ADDRESSES = 4  # of a vetted host; trying more would only spend the time of the fetch
RESOLVER_THREADS = 4  # threads of its own: a slow name server must not hold up the disk's

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host in ASCII and port to at least one address; raises OSError when the name cannot be resolved now."""


def authorities_of(own_url: str) -> frozenset[str]:
    """All host:port pairs of our own origin: behind an edge with TLS it answers without TLS too."""
    origin = origin_of(own_url)
    if origin is None:
        return frozenset()
    if origin.effective_port != DEFAULT_PORTS[origin.scheme]:
        return frozenset({origin.authority})
    return frozenset(Origin(scheme, origin.host, None).authority for scheme in DEFAULT_PORTS)


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

    async def vet(self, origin: Origin) -> tuple[str, ...]:
        """Vet a host for a fetch; connect only to the addresses that this returns, never to the name.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            OSError: the name cannot be resolved now.
        """
        if origin.authority in self._own:
            raise not_allowed("The URL leads back to this site, but names none of its stored pictures.")
        return await self.look_up(origin)

    async def look_up(self, origin: Origin) -> tuple[str, ...]:
        """Resolve the host once and vet every answer.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            OSError: the name cannot be resolved now.
        """
        exempt = origin.authority in self._allowed
        require_form(origin, exempt=exempt)
        addresses = await self._resolve(origin.host, origin.effective_port)
        if not exempt and not all(map(is_public, addresses)):
            raise not_allowed("The URL leads to an address that is not public. Give a public http(s) URL.")
        return tuple(addresses[:MAX_ADDRESSES])

    async def _getaddrinfo(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        name = host.encode("ascii")  # as bytes, or Python would encode it a second time
        look_up = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _unavailable(sentence: str) -> Unavailable:
    """The error of a source that may answer later."""
    return Unavailable(sentence, "SOURCE_UNAVAILABLE", retry_after=5)


@contextmanager
def _translated() -> Iterator[None]:
    """Translate network errors into Unavailable, that of a body shorter than its Content-Length included."""
    try:
        yield
    except (httpx.TransportError, OSError) as error:
        raise _unavailable("The picture's server could not be reached or broke off. Try again shortly.") from error


def _parse(uri: str) -> httpx.URL:
    """Read a URL.

    Raises:
        InvalidArgument: URL_NOT_ALLOWED.
    """
    try:
        return httpx.URL(uri)
    except (httpx.InvalidURL, ValueError):
        raise not_allowed("The URL cannot be read. Give the full http(s) URL of a picture.") from None


def _origin_of(url: httpx.URL) -> Origin:
    """The scheme, host and port of a URL, for the guard."""
    return Origin(url.scheme, url.raw_host.decode("ascii"), url.port, bool(url.userinfo))


class HttpFetcher:
    """The Fetcher on a bare httpx transport: no cookies, no proxies, no credentials, no redirects of its own."""

    def __init__(self, transport: httpx.AsyncBaseTransport, guard: Guard, settings: StorageSettings) -> None:
        self._transport = transport
        self._guard = guard
        self._total = settings.fetch_total_seconds
        connect, silent = settings.fetch_connect_seconds, settings.fetch_read_seconds
        self._timeout = httpx.Timeout(silent, connect=connect, pool=self._total).as_dict()

    @asynccontextmanager
    async def fetch(self, uri: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a URL, following a few redirects, and stream its body as it was sent."""
        with _translated():
            async with asyncio.timeout(self._total):
                response = await self._open(_parse(uri))
                try:
                    yield response.aiter_raw()
                finally:
                    await response.aclose()

    async def check(self, uri: str) -> None:
        """Vet a URL as a fetch would, without sending anything; a name that cannot be resolved now passes."""
        origin = _origin_of(_parse(uri))
        with suppress(OSError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self._guard.look_up(origin)

    async def _open(self, url: httpx.URL) -> httpx.Response:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(url, await self._guard.vet(_origin_of(url)))
            if response.status_code == OK and response.headers.get("Content-Encoding", "identity") == "identity":
                return response
            await response.aclose()
            url = _next(url, response)
        raise _unavailable("The URL redirects too often. Give the picture's own URL.")

    async def _send(self, url: httpx.URL, addresses: tuple[str, ...]) -> httpx.Response:
        """Ask one vetted address after the other until one accepts the connection."""
        *others, last = addresses
        for address in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._ask(url, address)
        return await self._ask(url, last)

    async def _ask(self, url: httpx.URL, address: str) -> httpx.Response:
        """Connect to the address, but keep the name in Host and in TLS."""
        headers = HEADERS | {"Host": url.netloc.decode("ascii")}
        name = url.raw_host.decode("ascii").rstrip(".")  # TLS knows no dot at the end of a full name
        extensions = {"timeout": self._timeout, "sni_hostname": name, "trace": _Pin(address).trace}
        request = httpx.Request("GET", url.copy_with(host=address), headers=headers, extensions=extensions)
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response


class _Pin:
    """Pins a connection to the vetted address: one to any other address is closed before it carries a byte."""

    def __init__(self, address: str) -> None:
        self._address = ip_address(address)

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step."""
        if event != CONNECTED:
            return
        stream = info["return_value"]
        peer = stream.get_extra_info("server_addr")
        if not peer or ip_address(peer[0]) != self._address:
            await stream.aclose()
            raise not_allowed("The connection did not end at the address that the URL's name stands for.")


def _next(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    """The URL to which a response redirects.

    Raises:
        NotFound: the status says that the source is gone.
        Unavailable: the status is no redirect, or has no Location.
        InvalidArgument: from https to http, or to something that is no URL.
    """
    status, location = response.status_code, response.headers.get("Location", "")
    if status in GONE:
        raise NotFound(f"The picture is gone: its server answered {status}.", "SOURCE_GONE")
    if status not in MOVED or not location:
        raise _unavailable(f"The picture's server answered {status} without a picture. Try again shortly.")
    following = _joined(url, location)
    if url.scheme == "https" and following.scheme != "https":
        raise not_allowed("The URL redirects from https to an unprotected address.")
    return following


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise not_allowed("The URL redirects to something that is no URL. Give the picture's own URL.") from None


@asynccontextmanager
async def open_fetcher(
    settings: StorageSettings, connections: int, guard: Guard | None = None
) -> AsyncIterator[HttpFetcher]:
    """Open a fetcher with at most so many connections.

    No connection is used twice: the pool knows vetted addresses, not for which name TLS was made.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=0)
    context = httpx.create_ssl_context(trust_env=False)
    guard = guard or Guard(settings.outbound_allow_private, own=authorities_of(settings.origin))
    async with httpx.AsyncHTTPTransport(verify=context, trust_env=False, http2=False, limits=limits) as transport:
        yield HttpFetcher(transport, guard, settings)


@asynccontextmanager
async def open_fetchers(settings: StorageSettings) -> AsyncIterator[Fetchers]:
    """Open both fetchers for the life of the process; they share neither connections nor resolver threads."""
    async with (
        open_fetcher(settings, settings.fetch_connections) as imports,
        open_fetcher(settings, settings.fetch_copy_connections) as copies,
    ):
        yield Fetchers(imports, copies)
