"""Artworks (docs/rest.md#saved-artworks): saving, uploading, publishing, and what people think of it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.community.callers import Caller
from tests.storage.samples import picture
from tests.support.polling import until

pytestmark = pytest.mark.e2e
PNG = picture()


def form(**fields: str) -> dict[str, object]:
    return {"files": {"file": ("heron.png", PNG, "image/png")}, "data": fields}


def test_saving_ones_own_result_keeps_its_artwork(mei: Caller) -> None:
    order = mei.ordered("a crane to save")
    done = mei.finished(order["id"])
    body = {"title": "Crane", "imageUrl": done["resultImageUrl"], "prompt": "a crane to save", "model": "bogus"}

    saved = mei.ok("POST", "/api/artworks/save-draft", json=body)
    published = mei.ok("POST", "/api/artworks/publish", json=body)

    assert saved["id"] == published["id"] == order["artworkId"]
    assert saved["status"] == "draft"
    assert (saved["title"], saved["userId"]) == ("Crane", mei.id)
    assert saved["originalUrl"] == done["resultImageUrl"]
    assert published["status"] == "published"
    assert published["slug"] == mei.ok("GET", f"/api/artworks/{saved['id']}")["slug"]


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Crane"},
        {"imageUrl": "https://cdn.example/a.png"},
        {"title": " ", "imageUrl": "https://cdn.example/a.png"},
        {"title": "Crane", "imageUrl": "javascript:alert(1)"},
        {"title": "Crane", "imageUrl": "file:///etc/passwd"},
        {"title": 7, "imageUrl": "https://cdn.example/a.png"},
        {"title": "Crane", "imageUrl": "http://127.0.0.1:22/a.png"},
    ],
)
def test_saving_nonsense_is_refused(mei: Caller, body: dict[str, object]) -> None:
    for path in ("/api/artworks/save-draft", "/api/artworks/publish"):
        status, _ = mei.code("POST", path, json=body)
        assert status == 400


def test_an_upload_keeps_the_file_only(mei: Caller) -> None:
    answer = mei.ok("POST", "/api/artworks/upload", **form())

    assert answer["originalUrl"] == answer["url"]
    assert "/artworks/original/" in answer["originalUrl"]
    assert "artwork_id" not in answer
    assert httpx.get(answer["originalUrl"]).content == PNG


def test_an_upload_becomes_a_draft_when_its_title_asks_for_it(mei: Caller) -> None:
    answer = mei.ok("POST", "/api/artworks/upload", **form(title="Scan", as_artwork="true"))

    assert answer["id"] == answer["artwork_id"]
    assert answer["status"] == "draft"
    assert mei.ok("GET", f"/api/artworks/{answer['id']}")["url"] == answer["originalUrl"]


def test_publishing_shows_it_once_and_for_good(mei: Caller, stranger: Caller) -> None:
    artwork = mei.draft("a crane to publish", title="鶴")
    assert artwork not in {card["id"] for card in stranger.ok("GET", "/api/feed", params={"limit": 50})}

    first = mei.ok("POST", f"/api/artworks/{artwork}/publish")
    shown = stranger.ok("GET", f"/api/artworks/{artwork}")
    again = mei.ok("POST", f"/api/artworks/{artwork}/publish")

    assert first == again
    assert first["status"] == "published"
    assert shown["slug"]
    assert shown["is_author"] is False
    assert stranger.ok("GET", f"/api/artworks/{artwork}")["published_at"] == shown["published_at"]


def test_unpublishing_hides_it_and_deleting_removes_its_bytes(mei: Caller, stranger: Caller) -> None:
    artwork = mei.published("a crane to delete")
    url = stranger.ok("GET", f"/api/artworks/{artwork}")["url"]

    assert mei.ok("POST", f"/api/artworks/{artwork}/unpublish")["status"] == "draft"
    assert artwork not in {card["id"] for card in stranger.ok("GET", "/api/feed", params={"limit": 50})}
    assert mei.ok("DELETE", f"/api/artworks/{artwork}") == {"deleted": True, "id": artwork}
    assert mei.code("GET", f"/api/artworks/{artwork}") == (404, "NOT_FOUND")
    until(lambda: httpx.get(url).status_code == 404 or None)


def test_only_its_owner_may_change_an_artwork(mei: Caller, ren: Caller) -> None:
    draft, shown = mei.draft("a hidden crane"), mei.published("a shown crane")

    for method, path in (("POST", "publish"), ("POST", "unpublish"), ("POST", "regenerate"), ("DELETE", "")):
        assert ren.code(method, f"/api/artworks/{draft}/{path}".rstrip("/"))[0] == 404
        assert ren.code(method, f"/api/artworks/{shown}/{path}".rstrip("/")) == (403, "FORBIDDEN")


def test_publishing_what_is_still_being_made_is_refused(mei: Caller) -> None:
    order = mei.ordered("a slow crane sim:stuck")

    assert mei.code("POST", f"/api/artworks/{order['artworkId']}/publish") == (409, "NOT_PUBLISHABLE")


def test_mass_assignment_changes_nothing(mei: Caller, ren: Caller) -> None:
    order = mei.ordered("a greedy crane", status="published", userId=ren.id, like_count=99, url="https://evil.example")
    mei.finished(order["id"])

    detail = mei.ok("GET", f"/api/artworks/{order['artworkId']}")
    assert (detail["status"], detail["like_count"], detail["author"]["id"]) == ("draft", 0, mei.id)


def test_likes_and_favourites_count_once_and_answer_with_everything(mei: Caller, ren: Caller) -> None:
    artwork = mei.published("a liked crane")

    for _ in range(2):
        liked = ren.ok("POST", f"/api/artworks/{artwork}/like")
        assert liked == {
            "like_count": 1,
            "fav_count": 0,
            "user_state": {"liked": True, "faved": False},
            "isLiked": True,
            "is_favorite": False,
        }
    for _ in range(2):
        kept = ren.ok("POST", f"/api/artworks/{artwork}/favorite")
        assert (kept["like_count"], kept["fav_count"], kept["is_favorite"]) == (1, 1, True)
    for _ in range(2):
        assert ren.ok("DELETE", f"/api/artworks/{artwork}/like")["like_count"] == 0
        assert ren.ok("DELETE", f"/api/artworks/{artwork}/favorite")["fav_count"] in (0, 1)
    assert ren.ok("GET", f"/api/artworks/{artwork}/state")["user_state"] == {"liked": False, "faved": False}


def test_concurrent_likes_of_one_person_count_once(mei: Caller, ren: Caller) -> None:
    artwork = mei.published("a crane liked in a hurry")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ren.ok("POST", f"/api/artworks/{artwork}/like"), range(8)))

    assert ren.ok("GET", f"/api/artworks/{artwork}/state")["like_count"] == 1


def test_drafts_and_unknown_artworks_cannot_be_liked(mei: Caller, ren: Caller, stranger: Caller) -> None:
    draft, shown = mei.draft("an unliked crane"), mei.published("a crane for members")

    for action in ("like", "favorite"):
        assert ren.code("POST", f"/api/artworks/{draft}/{action}") == (404, "NOT_FOUND")
        assert ren.code("POST", f"/api/artworks/art_unknown/{action}") == (404, "NOT_FOUND")
        assert stranger.code("POST", f"/api/artworks/{shown}/{action}") == (401, "AUTH_REQUIRED")


def test_batch_state_is_a_map_with_zeros_for_what_nobody_may_see(mei: Caller, ren: Caller) -> None:
    draft, shown = mei.draft("a crane in the dark"), mei.published("a crane in the light")
    ren.ok("POST", f"/api/artworks/{shown}/like")

    states = ren.ok("POST", "/api/artworks/batch/state", json={"artworkIds": [draft, shown, "art_unknown"]})

    assert {identifier: state["like_count"] for identifier, state in states.items()} == {
        draft: 0,
        shown: 1,
        "art_unknown": 0,
    }
    for ids in ([], "art_1", [7], ["a/b"], ["art_x"] * 1 + [f"art_{n}" for n in range(300)]):
        assert ren.code("POST", "/api/artworks/batch/state", json={"artworkIds": ids}) == (400, "INVALID_INPUT")
