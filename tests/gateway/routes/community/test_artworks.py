"""Artworks over REST: ordered, uploaded, saved, shown, published, reported and deleted."""

from typing import Any

import pytest

from services.community.model import OrderState
from tests.gateway.routes.community.conftest import ORIGIN, PROMPT, Caller, Site
from tests.gateway.shapes import PNG

ACCEPTED = "The picture is being made. Ask for the task's status until it is completed."


async def test_an_order_answers_with_every_id(site: Site, ann: Caller) -> None:
    answer = await ann.ordered(title="Lanterns")

    task, artwork = answer["taskId"], answer["artworkId"]
    assert answer == {
        "id": task,
        "taskId": task,
        "artworkId": artwork,
        "artwork_id": artwork,
        "status": "generating",
        "message": ACCEPTED,
    }
    (request,) = site.generations.requests.values()
    assert (request.prompt, request.model, request.aspect_ratio, request.output_format) == (
        PROMPT,
        "flux-kontext-pro",
        "1:1",
        "png",
    )
    assert request.parameters == {"enableTranslation": True, "promptUpsampling": True}


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ""},
        {"prompt": 7},
        {"model": "no-such-model"},
        {"aspectRatio": "5:7"},
        {"outputFormat": "bmp"},
        {"inputImage": "file:///etc/passwd"},
    ],
)
async def test_a_wrong_order_is_refused_and_nothing_is_ordered(site: Site, ann: Caller, fields: dict[str, Any]) -> None:
    refusal = await ann.error("POST", "/api/artworks/generate", json={"prompt": PROMPT} | fields)

    assert refusal[0] == 400
    assert site.generations.placed == []


async def test_a_repeated_order_with_one_idempotency_key_is_one_order(site: Site, ann: Caller) -> None:
    headers = {"Idempotency-Key": "once"}
    path, body = "/api/artworks/generate", {"prompt": PROMPT}

    first = await ann.http.post(path, json=body, headers=headers)
    again = await ann.http.post(path, json=body, headers=headers)
    other = await ann.http.post(path, json={"prompt": "another"}, headers=headers)

    assert again.json() == first.json()
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(site.generations.placed) == 1


async def test_a_failed_artwork_is_made_again(site: Site, ann: Caller) -> None:
    order = await ann.ordered()
    await site.end(order["taskId"], OrderState.FAILED, "WHY")

    again = await ann.ok("POST", f"/api/artworks/{order['artworkId']}/regenerate")

    assert (again["artworkId"], again["status"]) == (order["artworkId"], "generating")
    assert again["taskId"] != order["taskId"]
    busy = await ann.error("POST", f"/api/artworks/{order['artworkId']}/regenerate")
    assert busy == (409, "NOT_REGENERABLE")


async def test_an_upload_is_kept_and_becomes_a_draft_when_a_title_asks_for_it(ann: Caller) -> None:
    file = {"file": ("heron.png", PNG, "image/png")}

    kept = await ann.ok("POST", "/api/artworks/upload", files=file)
    draft = await ann.ok("POST", "/api/artworks/upload", files=file, data={"title": "Heron", "as_artwork": "true"})

    assert kept == {
        "originalUrl": f"{ORIGIN}/files/uploads/0.png",
        "thumbUrl": f"{ORIGIN}/files/uploads/0.png",
        "url": f"{ORIGIN}/files/uploads/0.png",
        "message": "The picture is uploaded.",
    }
    assert (draft["id"], draft["status"], draft["title"]) == (draft["artwork_id"], "draft", "Heron")
    assert draft["thumbUrl"].startswith(f"{ORIGIN}/api/img?u=")
    assert (await ann.ok("GET", f"/api/artworks/{draft['id']}"))["url"] == draft["originalUrl"]


async def test_an_upload_that_is_no_picture_is_refused(ann: Caller) -> None:
    refusal = await ann.error("POST", "/api/artworks/upload", files={"file": ("a.png", b"text", "image/png")})

    assert refusal == (400, "INVALID_IMAGE")


async def test_a_finished_picture_is_saved_as_a_draft_and_published_under_one_id(ann: Caller) -> None:
    picture = {"title": "Crane", "imageUrl": "https://elsewhere.example/crane.png", "model": "bogus"}

    saved = await ann.ok("POST", "/api/artworks/save-draft", json=picture)
    published = await ann.ok("POST", "/api/artworks/publish", json=picture)

    assert (saved["status"], saved["title"], saved["userId"]) == ("draft", "Crane", ann.id)
    assert saved["originalUrl"].startswith(f"{ORIGIN}/files/generated/saved_")
    assert published == saved | {"status": "published", "slug": published["slug"]}
    assert published["slug"].startswith("crane-")
    assert (await ann.ok("GET", f"/api/artworks/{saved['id']}"))["kie_model"] == "flux-kontext-pro"


@pytest.mark.parametrize("action", ["save-draft", "publish"])
@pytest.mark.parametrize(
    "body",
    [
        {"title": "Crane"},
        {"imageUrl": "https://elsewhere.example/a.png"},
        {"title": " ", "imageUrl": "https://elsewhere.example/a.png"},
        {"title": "Crane", "imageUrl": "javascript:alert(1)"},
        {"title": 7, "imageUrl": "https://elsewhere.example/a.png"},
        {"title": "Crane", "imageUrl": "https://elsewhere.example/a.png", "originalImageUrl": "file:///a"},
    ],
)
async def test_a_picture_without_title_or_url_is_not_saved(ann: Caller, action: str, body: dict[str, Any]) -> None:
    assert (await ann.error("POST", f"/api/artworks/{action}", json=body))[0] == 400


async def test_a_repeated_publication_of_a_picture_is_answered_alike(ann: Caller) -> None:
    picture = {"title": "Crane", "imageUrl": "https://elsewhere.example/crane.png"}
    headers = {"Idempotency-Key": "once"}

    first = await ann.http.post("/api/artworks/publish", json=picture, headers=headers)
    again = await ann.http.post("/api/artworks/publish", json=picture, headers=headers)

    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"


async def test_an_artwork_is_shown_with_what_is_its_owners(site: Site, ann: Caller, stranger: Caller) -> None:
    artwork = await site.draft(ann, title="Lanterns")
    path = f"/api/artworks/{artwork}"

    mine, theirs = await ann.ok("GET", path), await stranger.http.get(path)

    assert (mine["is_author"], mine["prompt"], mine["status"]) == (True, PROMPT, "draft")
    assert mine["author"] == {"id": ann.id, "name": "Ann", "profile_pic": "https://cdn.example/ann.png"}
    assert (theirs.json()["data"]["is_author"], "prompt" in theirs.json()["data"]) == (False, False)
    assert theirs.headers["x-robots-tag"] == "noindex"
    assert theirs.headers["cache-control"] == "no-store"
    await ann.ok("POST", f"{path}/publish")
    shown = await stranger.http.get(path)
    assert "x-robots-tag" not in shown.headers
    assert shown.json()["data"]["seo"] == {
        "title": "Lanterns · Ann",
        "description": PROMPT,
        "image": mine["url"],
    }
    assert await stranger.error("GET", "/api/artworks/art_none") == (404, "NOT_FOUND")


async def test_publishing_can_be_repeated_and_taken_back(site: Site, ann: Caller) -> None:
    artwork = await site.draft(ann)
    path = f"/api/artworks/{artwork}"

    first, again = await ann.ok("POST", f"{path}/publish"), await ann.ok("POST", f"{path}/publish")
    back = await ann.ok("POST", f"{path}/unpublish")

    assert first == again == back | {"status": "published"}
    assert (back["status"], back["id"]) == ("draft", artwork)
    assert first["slug"] == (await ann.ok("GET", path))["slug"]


async def test_what_is_being_made_cannot_be_published(ann: Caller) -> None:
    order = await ann.ordered()

    refusal = await ann.error("POST", f"/api/artworks/{order['artworkId']}/publish")
    assert refusal == (409, "NOT_PUBLISHABLE")


async def test_a_deleted_artwork_is_gone_with_its_file(site: Site, ann: Caller) -> None:
    artwork = await ann.saved()

    assert await ann.ok("DELETE", f"/api/artworks/{artwork}") == {"deleted": True, "id": artwork}

    assert await ann.error("GET", f"/api/artworks/{artwork}") == (404, "NOT_FOUND")
    await site.community.deletion_worker.delete_due()
    assert len(site.objects.deleted) == 1


async def test_a_report_reaches_the_operators(site: Site, ann: Caller, bob: Caller) -> None:
    artwork = await ann.saved()
    path = f"/api/artworks/{artwork}/report"

    assert await bob.ok("POST", path, json={"reason": "not nice"}) == {"reported": True, "id": artwork}

    (report,), _ = await site.community.admin_operations.reports(10, "")
    assert (report.artwork_id, report.user_id, report.reason) == (artwork, bob.id, "not nice")
    assert await bob.error("POST", path, json={}) == (400, "INVALID_INPUT")


@pytest.mark.parametrize(
    ("method", "action"), [("POST", "/publish"), ("POST", "/unpublish"), ("POST", "/regenerate"), ("DELETE", "")]
)
async def test_only_its_owner_changes_an_artwork(
    site: Site, ann: Caller, bob: Caller, stranger: Caller, method: str, action: str
) -> None:
    draft, shown = await site.draft(ann), await ann.saved()

    assert await bob.error(method, f"/api/artworks/{draft}{action}") == (404, "NOT_FOUND")
    assert await bob.error(method, f"/api/artworks/{shown}{action}") == (403, "FORBIDDEN")
    assert await stranger.error(method, f"/api/artworks/{shown}{action}") == (401, "AUTH_REQUIRED")


@pytest.mark.parametrize("path", ["generate", "upload", "save-draft", "publish", "art_1/report"])
async def test_nothing_is_made_for_a_stranger(stranger: Caller, path: str) -> None:
    body = {"prompt": PROMPT, "title": "a", "imageUrl": "https://elsewhere.example/a.png", "reason": "a"}

    assert await stranger.error("POST", f"/api/artworks/{path}", json=body) == (401, "AUTH_REQUIRED")
