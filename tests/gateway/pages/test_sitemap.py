"""The sitemap: every listed share, in files that are not too long."""

import asyncio
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.gateway.shapes import failure

Doubles = Any  # of tests/gateway/conftest.py
Connect = Callable[..., httpx.AsyncClient]
SPACES = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9", "x": "http://www.w3.org/1999/xhtml"}
SITE = "https://site.test"


def fill(doubles: Doubles, number: int) -> None:
    for place in range(number):
        doubles.share.add(f"share_{place}", generated_uri=f"https://a.test/{place}.png")


def parsed(response: httpx.Response) -> ET.Element:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/xml; charset=utf-8"
    return ET.fromstring(response.content)  # noqa: S314 - our own answer


def places(root: ET.Element, kind: str) -> list[str | None]:
    return [place.text for place in root.findall(f"s:{kind}/s:loc", SPACES)]


async def test_a_short_sitemap_is_one_file(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles, 2)

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


async def test_the_index_reads_no_shares(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.share.block_size = 2
    fill(doubles, 5)

    parsed(await client.get("/api/sitemap-share"))

    assert doubles.share.links_read == 0


async def test_many_crawlers_cost_one_read_of_each_file(connect_with: Connect, doubles: Doubles) -> None:
    client = connect_with(sitemap_cache_seconds=60)
    fill(doubles, 5)

    answers = await asyncio.gather(*(client.get("/api/sitemap-share?page=1") for _ in range(24)))
    late = await client.get("/api/sitemap-share?page=1")

    assert {len(places(parsed(answer), "url")) for answer in (*answers, late)} == {5}
    assert doubles.share.links_read == 5


async def test_a_file_that_may_not_be_kept_is_made_anew(connect_with: Connect, doubles: Doubles) -> None:
    client = connect_with(sitemap_cache_seconds=0)
    fill(doubles, 1)
    await client.get("/api/sitemap-share")
    doubles.share.rows.clear()

    assert places(parsed(await client.get("/api/sitemap-share")), "url") == []


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("identity", None), ("gzip;q=0", None), ("", None)],
)
async def test_who_takes_gzip_gets_gzip(
    client: httpx.AsyncClient, doubles: Doubles, accepted: str, encoding: str | None
) -> None:
    fill(doubles, 1000)

    answer = await client.get("/api/sitemap-share", headers={"Accept-Encoding": accepted})

    assert len(places(parsed(answer), "url")) == 1000
    assert (answer.headers.get("content-encoding"), "Accept-Encoding" in answer.headers["vary"]) == (encoding, True)
    assert (answer.num_bytes_downloaded < 50_000) is (encoding == "gzip")


async def test_a_long_sitemap_is_an_index_of_files_that_hold_every_share_once(
    client: httpx.AsyncClient, doubles: Doubles
) -> None:
    doubles.share.block_size = 2
    fill(doubles, 5)

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


async def test_the_origin_is_escaped(connect_with: Any, doubles: Doubles) -> None:
    fill(doubles, 1)
    client = connect_with(app_url="https://site.test/a&b")

    root = parsed(await client.get("/api/sitemap-share"))

    assert places(root, "url") == ["https://site.test/a&b/share/share_0"]
