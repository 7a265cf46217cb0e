"""The sitemap of shares (sitemaps.org): a file for each block of shares, and an index once there is more than one.

Files are kept compressed; each is rendered once, however many crawlers ask for it at the same time.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import cast
from xml.sax.saxutils import escape

from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from starlette.requests import Request

from gateway.clients.batched_reads import Batcher
from gateway.clients.stubs import Clients
from gateway.pages.views import alternates
from services.chassis import context
from services.chassis.errors import DeadlineExceeded
from services.chassis.names import parse_id
from services.chassis.status import translated

PATH = "/api/sitemap-share"
MEDIA_TYPE = "application/xml; charset=utf-8"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
PIECE = 500  # entries rendered at a time: 50,000 at once would hold up every other request

LINKS_SECONDS = 10.0  # a full block is 50,000 rows
NO_BLOCK = 2**31 - 1  # the field's largest number: of 10^14 shares
MAX_FILES = 8  # kept at a time: a full one has 50,000 entries, 1.5 MB as gzip
GZIP = 16 + zlib.MAX_WBITS  # zlib's word for a gzip header and trailer
NEVER = ("q=0", "q=0.0", "q=0.00", "q=0.000")
PIECE_BYTES = 64 * 1024  # of a compressed file; some twenty times as much is sent at once to who takes no gzip


def index(origin: str, blocks: int) -> str:
    """The index: the URLs of so many files."""
    place = escape(f"{origin}{PATH}")
    files = "".join(f"<sitemap><loc>{place}?page={page}</loc></sitemap>\n" for page in range(1, blocks + 1))
    return f"{HEAD}<sitemapindex {NAMESPACE}>\n{files}</sitemapindex>\n"


def file(origin: str, links: Sequence[sharepb.ShareLink]) -> Iterator[str]:
    """The file of these links, in pieces."""
    yield f'{HEAD}<urlset {NAMESPACE} xmlns:xhtml="http://www.w3.org/1999/xhtml">\n'
    for start in range(0, len(links), PIECE):
        yield "".join(_entry(escape(origin), link) for link in links[start : start + PIECE])
    yield "</urlset>\n"


def _entry(origin: str, link: sharepb.ShareLink) -> str:
    """The entry of one share: its page, and its pages in each language."""
    places = alternates(parse_id("shares", link.name))
    changed = link.update_time.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds")
    others = (f'<xhtml:link rel="alternate" hreflang="{at}" href="{origin}{path}"/>' for at, path in places.items())
    return (
        f"<url><loc>{origin}{places['x-default']}</loc><lastmod>{changed}</lastmod>"
        f"<changefreq>daily</changefreq><priority>0.5</priority>{''.join(others)}</url>\n"
    )


@dataclass(frozen=True, slots=True)
class SitemapFile:
    """A file as gzip, the count of files when it was made, and the monotonic second at which it expires."""

    body: bytes
    count: int
    end: float


class SitemapFiles:
    """The cache of files by their block of shares, each at most `seconds` old; one is rendered at a time."""

    def __init__(
        self, clients: Clients, origin: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clients, self._origin, self._seconds, self._clock = clients, origin, seconds, clock
        self._kept: dict[int, SitemapFile] = {}
        self._batcher = Batcher(self._make, size=1, calls=1)

    async def get(self, block: int) -> SitemapFile:
        """A file; an empty one where there is no such block.

        Raises:
            DeadlineExceeded, Unavailable: the share service could not be asked in time.
        """
        if kept := self._fresh(block):
            return kept
        try:
            async with asyncio.timeout(context.time_remaining()):
                return cast("SitemapFile", await self._batcher.get(block))
        except TimeoutError as error:
            raise DeadlineExceeded("The sitemap was not ready in time. Try again shortly.") from error

    async def _make(self, blocks: Sequence[int]) -> Mapping[int, SitemapFile]:
        (block,) = blocks
        if kept := self._fresh(block):  # made while this call was waiting for its turn
            return {block: kept}
        found = await _links(self._clients.share, block)
        body = b"".join([piece async for piece in _compressed(file(self._origin, found.links))])
        made = SitemapFile(body, found.block_count, self._clock() + self._seconds)
        self._kept.pop(block, None)
        if self._seconds and found.links:
            self._kept[block] = made
        while len(self._kept) > MAX_FILES:
            del self._kept[next(iter(self._kept))]
        return {block: made}

    def _fresh(self, block: int) -> SitemapFile | None:
        kept = self._kept.get(block)
        return kept if kept and kept.end > self._clock() else None


async def _compressed(pieces: Iterable[str]) -> AsyncIterator[bytes]:
    """The pieces as gzip; other tasks run between two of them."""
    packer = zlib.compressobj(wbits=GZIP)
    for piece in pieces:
        yield packer.compress(piece.encode())
        await asyncio.sleep(0)
    yield packer.flush()


async def plain(body: bytes) -> AsyncIterator[bytes]:
    """A gzip body, uncompressed, in pieces."""
    unpacker = zlib.decompressobj(wbits=GZIP)
    for start in range(0, len(body), PIECE_BYTES):
        yield unpacker.decompress(body[start : start + PIECE_BYTES])


def takes_gzip(request: Request) -> bool:
    """Whether the client says that it can read gzip (RFC 9110 12.5.3)."""
    offers = request.headers.get("accept-encoding", "").replace(" ", "").lower().split(",")
    weights = [weight for name, _, weight in (offer.partition(";") for offer in offers) if name == "gzip"]
    return any(weight not in NEVER for weight in weights)


def of(request: Request) -> SitemapFiles:
    """The files of the application that answers a request."""
    return cast("SitemapFiles", request.app.state.sitemap_files)


async def _links(shares: "sharerpc.ShareServiceAsyncStub", block: int) -> sharepb.ListShareLinksResponse:
    """The links of a block of shares, for a sitemap."""
    with translated():
        return await shares.ListShareLinks(sharepb.ListShareLinksRequest(block=block), timeout=LINKS_SECONDS)


async def block_count(shares: "sharerpc.ShareServiceAsyncStub") -> int:
    """How many blocks of shares there are: a block beyond the last holds no links, and costs one row of an index."""
    with translated():
        beyond = sharepb.ListShareLinksRequest(block=NO_BLOCK)
        return (await shares.ListShareLinks(beyond)).block_count
