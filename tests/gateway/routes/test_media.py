"""Pictures themselves: small ones of our own for tiles, and a generation's stored picture (S4).

See docs/rest.md#small-pictures.
"""

from typing import Any

import httpx
import pytest
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.errors import (
    DataLoss,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    KawaiiError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from tests.conditions import CASES, SIZE, expected, found
from tests.gateway.conftest import Connect, Doubles
from tests.gateway.shapes import FILES, ORIGIN, failure

KEY, WHOLE = "uploads/1-ab.png", b"the whole picture"
WEEK = "public, max-age=604800, s-maxage=604800, stale-while-revalidate=86400"
SANDBOX = "default-src 'none'; sandbox"
Output = generationpb.Generation.Output


@pytest.fixture(autouse=True)
def stored(doubles: Doubles) -> None:
    doubles.storage.add(KEY, size_bytes=len(WHOLE), sha256="a" * 64)
    doubles.storage.kept[KEY] = WHOLE


async def test_a_tile_gets_a_small_picture_for_a_week(client: httpx.AsyncClient, doubles: Doubles) -> None:
    answer = await client.get("/api/img", params={"u": f"{FILES}/{KEY}", "w": "400", "q": "80", "fm": "webp"})

    assert (answer.status_code, answer.content) == (200, b"small")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["content-length"] == "5"
    assert answer.headers["cache-control"] == WEEK
    assert answer.headers["content-security-policy"] == SANDBOX
    assert answer.headers["x-content-type-options"] == "nosniff"
    [wish] = doubles.storage.wishes
    assert (wish.object, wish.width, wish.height, wish.quality) == (f"objects/{KEY}", 400, 0, 80)
    assert (wish.format, wish.signature) == ("webp", "")


@pytest.mark.parametrize("u", [f"{FILES}/{KEY}", f"/files/{KEY}", KEY, f"{FILES}/{KEY}?v=1", f" {FILES}/{KEY} "])
async def test_a_picture_of_ours_may_be_named_in_any_way(client: httpx.AsyncClient, u: str) -> None:
    assert (await client.get("/api/img", params={"u": u})).status_code == 200


async def test_pictures_under_a_public_base_of_their_own_are_ours_too(connect_with: Connect) -> None:
    client = connect_with(storage_public_base_url="https://cdn.test/pics")

    for u in (f"https://cdn.test/pics/{KEY}", f"{ORIGIN}/files/{KEY}"):
        assert (await client.get("/api/img", params={"u": u})).status_code == 200


@pytest.mark.parametrize(
    "u",
    [
        "https://elsewhere.test/a.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        f"{FILES}.evil.test/{KEY}",
        f"{FILES}/../etc/passwd",
        "/files/../../etc/passwd",
        "//elsewhere.test/a.png",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "a" * 600,
        "x\0.png",
    ],
)
async def test_nothing_else_is_ever_fetched(client: httpx.AsyncClient, doubles: Doubles, u: str) -> None:
    answer = await client.get("/api/img", params={"u": u})
    sentence = "u is not the URL of a picture that is stored here. Others are not fetched."

    assert (answer.status_code, answer.json()) == (400, failure("INVALID_INPUT", sentence))
    assert not doubles.storage.wishes


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "u"),
        ({"u": ""}, "u"),
        ({"u": KEY, "w": "wide"}, "w"),
        ({"u": KEY, "w": "-1"}, "w"),
        ({"u": KEY, "h": "-1"}, "h"),
        ({"u": KEY, "q": "best"}, "q"),
        ({"u": KEY, "fm": "svg"}, "fm"),
        ({"u": KEY, "s": "s" * 300}, "s"),
    ],
)
async def test_a_wrong_query_is_refused_in_json(client: httpx.AsyncClient, query: dict[str, str], field: str) -> None:
    answer = await client.get("/api/img", params=query)

    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
    assert answer.json()["error"].startswith(f"{field} ")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("q", "quality"), [("", 70), ("1", 30), ("100", 100), ("9999", 100), ("0", 30), ("55", 55)])
async def test_quality_is_kept_within_its_bounds(
    client: httpx.AsyncClient, doubles: Doubles, q: str, quality: int
) -> None:
    await client.get("/api/img", params={"u": KEY, "q": q})

    assert doubles.storage.wishes[0].quality == quality


@pytest.mark.parametrize(
    ("fm", "accept", "format_", "vary"),
    [
        ("", "image/avif,image/webp,*/*", "webp", "Origin, Accept"),
        ("", "*/*", "jpeg", "Origin, Accept"),
        ("png", "image/webp", "png", "Origin"),
        ("JPG", "image/webp", "jpeg", "Origin"),
        ("avif", "", "webp", "Origin"),
    ],
)
async def test_the_format_is_what_was_asked_or_what_the_browser_takes(
    client: httpx.AsyncClient, doubles: Doubles, fm: str, accept: str, format_: str, vary: str
) -> None:
    query = {"u": KEY} | ({"fm": fm} if fm else {})
    answer = await client.get("/api/img", params=query, headers={"Accept": accept})

    assert doubles.storage.wishes[0].format == format_
    assert set(answer.headers["vary"].split(", ")) == set(vary.split(", "))


async def test_a_browser_that_holds_the_picture_is_told_so(client: httpx.AsyncClient) -> None:
    first = await client.get("/api/img", params={"u": KEY})
    again = await client.get(
        "/api/img", params={"u": KEY}, headers={"If-None-Match": f'W/"x", {first.headers["etag"]}'}
    )

    assert (again.status_code, again.content) == (304, b"")
    assert (again.headers["etag"], again.headers["cache-control"]) == (first.headers["etag"], WEEK)


@pytest.mark.parametrize("path", ["/api/img", "/api/images/gen_1"])
async def test_conditions_and_ranges_are_answered_by_the_book(
    client: httpx.AsyncClient, doubles: Doubles, path: str
) -> None:
    key, content = "generated/gen_1/0.png", bytes(place % 251 for place in range(SIZE))
    doubles.storage.add(key, size_bytes=SIZE, sha256="b" * 64)
    doubles.storage.kept[key] = content
    doubles.storage.variant_failure = Unavailable("Busy.", "STUDIO_BUSY")  # so that /api/img shows the original
    doubles.generation.add("gen_1", outputs=[Output(index=0, object=f"objects/{key}")])
    etag = f'"{"b" * 64}"'

    for case in CASES:
        answer = await client.request(case.method, path, params={"u": key}, headers=case.sent(etag))
        assert found(case, answer) == expected(case, content, etag)
        assert ("max-age" in answer.headers["cache-control"]) is (case.status < 400), case.title


async def test_head_tells_the_size_and_sends_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/img", params={"u": KEY})

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "5")


@pytest.mark.parametrize(
    "trouble",
    [
        InvalidArgument("Damaged.", "INVALID_IMAGE"),
        InvalidArgument("Large.", "IMAGE_TOO_LARGE"),
        Unavailable("Busy.", "STUDIO_BUSY"),
        ResourceExhausted("Full.", "STORAGE_FULL"),
        DeadlineExceeded("Late."),
        Internal("Ours."),
    ],
)
async def test_the_original_is_served_while_there_is_no_variant(
    client: httpx.AsyncClient, doubles: Doubles, trouble: KawaiiError
) -> None:
    doubles.storage.variant_failure = trouble
    answer = await client.get("/api/img", params={"u": KEY})

    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert answer.headers["cache-control"] == "public, max-age=60"


@pytest.mark.parametrize("gone", [NotFound("The row is gone."), DataLoss("The bytes are gone.")])
async def test_the_original_is_served_when_the_variant_goes_at_this_moment(
    client: httpx.AsyncClient, doubles: Doubles, gone: KawaiiError
) -> None:
    doubles.storage.variant_gone = gone
    answer = await client.get("/api/img", params={"u": KEY})

    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert answer.headers["cache-control"] == "public, max-age=60"


async def test_what_is_not_stored_or_not_allowed_is_said_in_json(client: httpx.AsyncClient, doubles: Doubles) -> None:
    missing = await client.get("/api/img", params={"u": "uploads/none.png"})
    doubles.storage.variant_failure = PermissionDenied("Not signed.")
    forged = await client.get("/api/img", params={"u": KEY, "s": "forged"})

    assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    assert (forged.status_code, forged.json()["code"]) == (403, "FORBIDDEN")


async def test_bytes_that_are_gone_are_json_and_not_half_a_picture(client: httpx.AsyncClient, doubles: Doubles) -> None:
    doubles.storage.variant_failure = Unavailable("Busy.", "STUDIO_BUSY")
    doubles.storage.kept.clear()
    answer = await client.get("/api/img", params={"u": KEY})

    assert answer.status_code == 500
    assert answer.json()["success"] is False


async def test_storage_that_is_down_is_503_in_json(client: httpx.AsyncClient, doubles: Doubles) -> None:
    await doubles.stop("storage")
    answer = await client.get("/api/img", params={"u": KEY})

    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert "retry-after" in answer.headers


async def test_a_generation_shows_its_stored_picture(client: httpx.AsyncClient, doubles: Doubles) -> None:
    outputs: list[Any] = [Output(index=0, object=f"objects/{KEY}"), Output(index=1)]
    doubles.generation.add("gen_1", provider_task_id="kie-77", outputs=outputs)
    answer = await client.get("/api/images/gen_1")

    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-security-policy"] == SANDBOX
    assert (await client.get("/api/images/kie-77?index=0")).content == WHOLE
    held = await client.get("/api/images/gen_1", headers={"If-None-Match": answer.headers["etag"]})
    assert held.status_code == 304


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("gen_1?index=1", 404, "RESULT_NOT_FOUND"),
        ("gen_1?index=2", 404, "RESULT_NOT_FOUND"),
        ("gen_none", 404, "TASK_NOT_FOUND"),
        ("gen_1?index=x", 400, "INVALID_INPUT"),
        ("a%20b", 400, "INVALID_INPUT"),
    ],
)
async def test_a_picture_that_is_not_there_is_json(
    client: httpx.AsyncClient, doubles: Doubles, path: str, status: int, code: str
) -> None:
    doubles.generation.add("gen_1", outputs=[Output(index=0, object=f"objects/{KEY}"), Output(index=1)])
    answer = await client.get(f"/api/images/{path}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/api/img", "/api/images/gen_1"])
async def test_pictures_are_read_only(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path)

    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
