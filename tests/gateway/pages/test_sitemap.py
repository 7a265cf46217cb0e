"""The sitemap: every listed share, in files that are not too long."""

from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.gateway.shapes import failure

Town = Any  # of tests/gateway/conftest.py
SPACES = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "x": "http://www.w3.org/1999/xhtml"}
SITE = "https://site.test"


def fill(town: Town, number: int) -> None:
    for place in range(number):
        town.share.add(f"share_{place}", generated_uri=f"https://a.test/{place}.png")


def parsed(response: httpx.Response) -> ET.Element:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/xml; charset=utf-8"
    return ET.fromstring(response.content)  # noqa: S314 - our own answer


def places(root: ET.Element, kind: str) -> list[str | None]:
    return [place.text for place in root.findall(f"s:{kind}/s:loc", SPACES)]


async def test_a_short_sitemap_is_one_file(client: httpx.AsyncClient, town: Town) -> None:
    fill(town, 2)

    root = parsed(await client.get("/api/sitemap-share"))

    assert places(root, "url") == [f"{SITE}/share/share_0", f"{SITE}/share/share_1"]
    first = root.find("s:url", SPACES)
    assert first is not None
    assert first.findtext("s:lastmod", namespaces=SPACES) == "2026-11-05T08:00:00+00:00"
    assert first.findtext("s:changefreq", namespaces=SPACES) == "daily"
    assert first.findtext("s:priority", namespaces=SPACES) == "0.5"
    assert {link.get("hreflang"): link.get("href") for link in first.findall("x:link", SPACES)} == {
        "ja": f"{SITE}/ja/share/share_0",
        "en": f"{SITE}/en/share/share_0",
        "zh": f"{SITE}/zh/share/share_0",
        "x-default": f"{SITE}/share/share_0",
    }


async def test_a_long_sitemap_is_an_index_of_files_that_hold_every_share_once(
    client: httpx.AsyncClient, town: Town
) -> None:
    town.share.block_size = 2
    fill(town, 5)

    files = places(parsed(await client.get("/api/sitemap-share")), "sitemap")
    listed = [place for file in files for place in places(parsed(await client.get(str(file))), "url")]

    assert files == [f"{SITE}/api/sitemap-share?page={page}" for page in (1, 2, 3)]
    assert listed == [f"{SITE}/share/share_{number}" for number in range(5)]


async def test_a_sitemap_of_no_shares_is_empty_and_well_formed(client: httpx.AsyncClient) -> None:
    assert len(parsed(await client.get("/api/sitemap-share"))) == 0
    assert len(parsed(await client.get("/api/sitemap-share?page=1"))) == 0


@pytest.mark.parametrize(("page", "status"), [("x", 400), ("-1", 400), ("50001", 400), ("9" * 20, 400), ("2", 404)])
async def test_a_page_that_is_none_is_refused_as_json(client: httpx.AsyncClient, page: str, status: int) -> None:
    response = await client.get("/api/sitemap-share", params={"page": page})

    message = response.json()["message"]
    assert (response.status_code, message.startswith(("page ", "The sitemap "))) == (status, True)
    assert response.json() == failure({400: "INVALID_INPUT", 404: "NOT_FOUND"}[status], message)


async def test_the_origin_is_escaped(connect_with: Any, town: Town) -> None:
    fill(town, 1)
    client = connect_with(app_url="https://site.test/a&b")

    root = parsed(await client.get("/api/sitemap-share"))

    assert places(root, "url") == ["https://site.test/a&b/share/share_0"]
