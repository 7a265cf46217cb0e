"""Small pictures for tiles, and the list of share pages for search engines.

See docs/rest.md#small-pictures.
"""

import io
from xml.etree import ElementTree as ET

import httpx
import pytest
from PIL import Image

from tests.e2e.contract.conftest import Validated
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

IMG, SITEMAP = "/api/img", "/api/sitemap-share"
WEEK = "public, max-age=604800, s-maxage=604800, stale-while-revalidate=86400"
NAMES = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "x": "http://www.w3.org/1999/xhtml"}


@pytest.mark.parametrize(("fm", "kind"), [("webp", "WEBP"), ("jpeg", "JPEG")])
def test_a16_a_tile_is_a_small_copy_that_is_kept_for_a_week(
    stack: Stack, done: tuple[str, str], fm: str, kind: str
) -> None:
    answer = stack.http.get(IMG, params={"u": done[1], "w": 64, "q": 60, "fm": fm})

    assert (answer.status_code, answer.headers["cache-control"]) == (httpx.codes.OK, WEEK)
    assert answer.headers["access-control-allow-origin"] == "*"
    small = Image.open(io.BytesIO(answer.content))
    assert (small.format, small.width) == (kind, 64)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"u": ""}, 400),
        ({"u": "http://169.254.169.254/latest/meta-data"}, 400),
        ({"u": "https://elsewhere.example/a.png"}, 400),
        ({"u": "file:///etc/passwd"}, 400),
        ({"u": "uploads/../../etc/passwd"}, 400),
        ({"u": "uploads/nothing.png"}, 404),
        ({"u": "uploads/nothing.png", "w": "wide"}, 400),
        ({"u": "uploads/nothing.png", "w": "-1"}, 400),
        ({"u": "uploads/nothing.png", "fm": "html"}, 400),
    ],
)
def test_a16_nothing_but_our_own_pictures_is_sent_and_failures_are_json(
    stack: Stack, validated: Validated, query: dict[str, str], status: int
) -> None:
    answer = stack.http.get(IMG, params=query)

    assert answer.status_code == status
    assert validated(answer)["success"] is False


def test_a17_the_sitemap_holds_what_is_listed_in_every_language(stack: Stack) -> None:
    body = {"generatedUrl": "https://pictures.example/sitemap.png", "prompt": "<&> in a sitemap"}
    share = stack.post("/api/share", body).raise_for_status().json()
    hidden = {"generatedUrl": "https://pictures.example/no-map.png", "originalUrl": "https://pictures.example/o.png"}
    unlisted = stack.post("/api/share", hidden).raise_for_status().json()
    answer = stack.http.get(SITEMAP)
    pages = {page.findtext("s:loc", "", NAMES): page for page in ET.fromstring(answer.content)}  # noqa: S314 - our own
    page = pages[share["shareUrl"].replace("?id=", "/")]  # the canonical page

    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    assert unlisted["shareUrl"].replace("?id=", "/") not in pages
    assert {"ja", "en", "x-default"} <= {link.get("hreflang") for link in page.findall("x:link", NAMES)}
    assert [page.findtext(f"s:{name}", "", NAMES) for name in ("changefreq", "priority")] == ["daily", "0.5"]
    assert page.findtext("s:lastmod", "", NAMES)
    assert f"{SITEMAP}" in stack.http.get("/robots.txt").text


@pytest.mark.parametrize(("page", "status"), [("abc", 400), ("-1", 400), ("7", 404)])
def test_a17_a_page_that_is_none_is_json(stack: Stack, validated: Validated, page: str, status: int) -> None:
    answer = stack.http.get(SITEMAP, params={"page": page})

    assert answer.status_code == status
    assert validated(answer)["success"] is False
