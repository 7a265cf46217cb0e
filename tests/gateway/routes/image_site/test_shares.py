"""Sharing pictures (docs/rest.md#making-shares), and listing them (docs/rest.md#share-lists)."""

from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Doubles
from tests.gateway.shapes import ISO, MILLISECONDS, ORIGIN, failure

PICTURE = "https://site.test/files/generated/gen_1/0.png"
SEO = {
    "modelLabel": "",
    "titleJa": "",
    "titleEn": "A title",
    "descJa": "",
    "descEn": "",
    "keywordsJa": [],
    "keywordsEn": [],
}
RECORD: dict[str, Any] = {
    "id": "share_1",
    "generatedUrl": PICTURE,
    "originalUrl": "",
    "prompt": "",
    "style": "default",
    "timestamp": MILLISECONDS,
    "createdAt": ISO,
    "isR2Stored": False,
    "seoTags": [],
    "seo": SEO,
    "published": False,
}
TOKEN = "ptk_shares/share_1"


async def shared(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/api/share", json={"generatedUrl": PICTURE, **fields})


async def test_a_picture_alone_can_be_shared(client: httpx.AsyncClient) -> None:
    response = await shared(client)

    assert response.status_code == 200
    assert response.json() == {
        "success": True,
        "shareId": "share_1",
        "shareUrl": f"{ORIGIN}/share?id=share_1",
        "data": RECORD,
        "publishToken": TOKEN,
        "message": "The picture is shared.",
    }


async def test_everything_the_front_end_sends_is_kept(client: httpx.AsyncClient) -> None:
    fields: dict[str, Any] = {
        "originalUrl": "https://a.test/me.png",
        "prompt": "a cat",
        "style": "anime",
        "model": "flux-kontext-pro",
        "timestamp": 1_700_000_000_123.5,
        "isR2Stored": True,
        "seoTags": [f"tag{number}" for number in range(25)],
    }
    expected = {**RECORD, **fields, "timestamp": 1_700_000_000_123, "seoTags": fields["seoTags"][:20]}

    assert (await shared(client, **fields)).json()["data"] == expected


async def test_a_picture_shared_twice_keeps_its_share_and_gets_no_second_token(client: httpx.AsyncClient) -> None:
    await shared(client)
    again = await shared(client, prompt="other")

    assert again.status_code == 200
    assert again.json() == {
        "success": True,
        "shareId": "share_1",
        "shareUrl": f"{ORIGIN}/share?id=share_1",
        "data": RECORD,
        "message": "The picture was shared before.",
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"generatedUrl": None}, "generatedUrl is missing or blank."),
        ({"generatedUrl": "  "}, "generatedUrl is missing or blank."),
        ({"generatedUrl": 5}, "generatedUrl must be a string."),
        ({"generatedUrl": "javascript:alert(1)"}, "generatedUrl must be an http or https URL."),
        ({"originalUrl": "data:image/png;base64,AA=="}, "originalUrl must be an http or https URL."),
        ({"prompt": {}}, "prompt must be a string."),
        ({"timestamp": "now"}, "timestamp must be a number."),
        ({"timestamp": True}, "timestamp must be a number."),
        ({"timestamp": -1}, "timestamp must be milliseconds since 1970."),
        ({"timestamp": 1e18}, "timestamp must be milliseconds since 1970."),
        ({"isR2Stored": "yes"}, "isR2Stored must be true or false."),
        ({"seoTags": "cat"}, "seoTags must be a list of strings."),
        ({"seoTags": ["cat", 5]}, "seoTags must be a string."),
    ],
)
async def test_bad_fields_are_named_and_nothing_is_shared(
    client: httpx.AsyncClient, doubles: Doubles, fields: dict[str, Any], message: str
) -> None:
    response = await shared(client, **fields)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", message))
    assert not doubles.share.rows


@pytest.mark.parametrize("path", ["/api/share/share_1", "/api/share?id=share_1"])
async def test_a_share_is_read_by_either_address(client: httpx.AsyncClient, path: str) -> None:
    await shared(client)
    response = await client.get(path)

    assert response.status_code == 200
    assert response.headers["x-robots-tag"] == "index"
    assert response.json() == {"success": True, "data": {**RECORD, "isPublished": False}}


@pytest.mark.parametrize("path", ["/api/share/share_none", "/api/share?id=share_none", "/api/share?id=list"])
async def test_an_unknown_share_is_404_and_not_indexed(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.headers["x-robots-tag"]) == (404, "noindex")
    assert response.json() == failure("NOT_FOUND", "There is no such share.")


@pytest.mark.parametrize(
    "path", ["/api/share", "/api/share?id=", "/api/share?id=a%2Fb", "/api/share/index:published:all"]
)
async def test_a_share_needs_an_id(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()) == (400, failure("INVALID_INPUT", "id is missing or not an id."))


async def test_publishing_needs_the_token_and_says_since_when(client: httpx.AsyncClient) -> None:
    await shared(client)
    response = await client.put("/api/share/share_1", json={"action": "publish", "token": TOKEN})

    assert response.status_code == 200
    assert response.json() == {"success": True, "published": True, "contributedAt": MILLISECONDS}
    assert (await client.get("/api/share/share_1")).json()["data"] == {
        **RECORD,
        "published": True,
        "contributedAt": MILLISECONDS,
        "isPublished": True,
    }


async def test_the_token_of_a_publication_may_travel_as_a_header(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await shared(client)
    headers = {"X-Share-Token": TOKEN}
    response = await client.put("/api/share/share_1", json={"action": "publish"}, headers=headers)

    assert response.status_code == 200
    assert doubles.share.rows[0].published


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"action": "publish"}, 400, failure("INVALID_INPUT", "token is missing or blank.")),
        ({"action": "publish", "token": 5}, 400, failure("INVALID_INPUT", "token must be a string.")),
        ({"action": "feature", "token": TOKEN}, 400, failure("INVALID_INPUT", "action must be one of: publish.")),
        ({"token": TOKEN}, 400, failure("INVALID_INPUT", "action must be one of: publish.")),
        (
            {"action": "publish", "token": "no"},
            403,
            failure("INVALID_TOKEN", "This token does not belong to this share."),
        ),
    ],
)
async def test_publishing_without_the_right_words_changes_nothing(
    client: httpx.AsyncClient, doubles: Doubles, body: dict[str, Any], status: int, expected: dict[str, object]
) -> None:
    await shared(client)
    response = await client.put("/api/share/share_1", json=body)

    assert (response.status_code, response.json()) == (status, expected)
    assert not doubles.share.rows[0].published


@pytest.mark.parametrize("given", [{"json": {"token": TOKEN}}, {"headers": {"X-Share-Token": TOKEN}}])
async def test_a_share_is_deleted_by_its_token_in_either_place(
    client: httpx.AsyncClient, doubles: Doubles, given: dict[str, Any]
) -> None:
    await shared(client)
    response = await client.request("DELETE", "/api/share/share_1", **given)

    assert response.status_code == 200
    assert response.json() == {"success": True, "deleted": True, "message": "The share is deleted."}
    assert not doubles.share.rows


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({}, 400, "INVALID_INPUT"),
        ({"json": {}}, 400, "INVALID_INPUT"),
        ({"headers": {"X-Share-Token": "no"}}, 403, "INVALID_TOKEN"),
    ],
)
async def test_a_share_is_not_deleted_without_its_token(
    client: httpx.AsyncClient, doubles: Doubles, given: dict[str, Any], status: int, code: str
) -> None:
    await shared(client)
    response = await client.request("DELETE", "/api/share/share_1", **given)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert len(doubles.share.rows) == 1


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
