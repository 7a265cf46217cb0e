"""Listing shared pictures (docs/rest.md#share-lists)."""

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import ISO, MILLISECONDS


def fill(doubles: Doubles, number: int) -> None:
    for place in range(number):
        doubles.share.add(f"share_{place}", generated_uri=f"https://a.test/{place}.png", style="anime")


def item(place: int) -> dict[str, Any]:
    return {
        "id": f"share_{place}",
        "generatedUrl": f"https://a.test/{place}.png",
        "style": "anime",
        "timestamp": MILLISECONDS,
        "createdAt": ISO,
        "originalUrl": "",
    }


async def test_the_gallery_pages_by_a_number_and_ends_without_one(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles, 3)
    first = await client.get("/api/share/list", params={"limit": 2})
    last = await client.get(
        "/api/share/list", params={"limit": 2, "cursor": first.json()["data"]["cursor"], "offset": 1}
    )

    page = {"total": 3, "limit": 2, "offset": 0, "filter": "all"}
    assert first.headers["cache-control"] == "public, s-maxage=300, max-age=60, stale-while-revalidate=120"
    assert first.json() == {
        "success": True,
        "data": {"items": [item(2), item(1)], **page, "hasMore": True, "cursor": 2},
    }
    assert last.json() == {"success": True, "data": {"items": [item(0)], **page, "hasMore": False}}


async def test_the_gallery_takes_an_offset_and_a_filter(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles, 3)
    doubles.share.add("share_other", generated_uri="https://a.test/o.png", style="photo")
    response = await client.get("/api/share/list", params={"offset": 1, "style": "anime", "tb": "700"})

    assert response.json()["data"] == {
        "items": [item(1), item(0)],
        "total": 3,
        "limit": 20,
        "offset": 1,
        "hasMore": False,
        "filter": "style:anime",
    }


@pytest.mark.parametrize(("limit", "used"), [("", 20), ("1", 1), ("100", 100), ("1000000000", 100)])
async def test_the_limit_is_kept_within_bounds(client: httpx.AsyncClient, limit: str, used: int) -> None:
    assert (await client.get("/api/share/list", params={"limit": limit})).json()["data"]["limit"] == used


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "abc"),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "1e3"),
        ("limit", "1.5"),
        ("limit", "٣"),
        ("offset", "-1"),
        ("offset", "x"),
        ("cursor", "-5"),
        ("cursor", "abc"),
        ("cursor", "9" * 17),
        ("style", "x" * 201),
    ],
)
async def test_bad_paging_is_refused_by_name(client: httpx.AsyncClient, name: str, value: str) -> None:
    response = await client.get("/api/share/list", params={name: value})

    assert (response.status_code, response.json()["code"]) == (400, "INVALID_INPUT")
    assert response.json()["error"].startswith(f"{name} must ")


async def test_latest_shows_the_newest_twelve(client: httpx.AsyncClient, doubles: Doubles) -> None:
    fill(doubles, 13)
    response = await client.get("/api/share/latest")

    assert response.headers["cache-control"] == "public, s-maxage=600, max-age=300, stale-while-revalidate=120"
    assert response.json() == {"success": True, "data": {"items": [item(place) for place in range(12, 0, -1)]}}
