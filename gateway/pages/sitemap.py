"""Renders sitemaps (sitemaps.org): a file for each block of shares, and an index once there is more than one."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from xml.sax.saxutils import escape

from kawaii.share.v1 import share_pb2 as sharepb

from gateway.pages.languages import alternates
from services.chassis.names import parse_id

PATH = "/api/sitemap-share"
MEDIA_TYPE = "application/xml; charset=utf-8"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
PIECE = 500  # entries rendered at a time: 50,000 at once would hold up every other request


def index(origin: str, blocks: int) -> str:
    """The list of the files."""
    place = escape(f"{origin}{PATH}")
    files = "".join(f"<sitemap><loc>{place}?page={page}</loc></sitemap>\n" for page in range(1, blocks + 1))
    return f"{HEAD}<sitemapindex {NAMESPACE}>\n{files}</sitemapindex>\n"


def file(origin: str, links: Sequence[sharepb.ShareLink]) -> Iterator[str]:
    """One file, in pieces."""
    yield f'{HEAD}<urlset {NAMESPACE} xmlns:xhtml="http://www.w3.org/1999/xhtml">\n'
    for start in range(0, len(links), PIECE):
        yield "".join(entry(escape(origin), link) for link in links[start : start + PIECE])
    yield "</urlset>\n"


def entry(origin: str, link: sharepb.ShareLink) -> str:
    """The page of one share, and its pages in each language."""
    places = alternates(parse_id("shares", link.name))
    changed = link.update_time.ToDatetime(tzinfo=UTC).isoformat(timespec="seconds")
    others = (f'<xhtml:link rel="alternate" hreflang="{at}" href="{origin}{path}"/>' for at, path in places.items())
    return (
        f"<url><loc>{origin}{places['x-default']}</loc><lastmod>{changed}</lastmod>"
        f"<changefreq>daily</changefreq><priority>0.5</priority>{''.join(others)}</url>\n"
    )
