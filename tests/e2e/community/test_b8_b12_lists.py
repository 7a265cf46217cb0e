"""The feed, details, people, hotness, credits, and what a person can take or have erased.

See docs/rest.md#community.
"""

import json
import time
from collections.abc import Iterator
from io import BytesIO
from zipfile import ZipFile

import grpc
import httpx
import pytest
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.generation.v1.generation_pb2 import ListGenerationsRequest

from tests.e2e.community.callers import SECRET, Caller, caller
from tests.e2e.stack import Stack, running
from tests.support.polling import until

pytestmark = pytest.mark.e2e
CARD = {"id", "title", "url", "thumb_url", "slug", "status", "created_at", "author", "like_count", "fav_count"}


def ids(cards: list[dict[str, object]]) -> list[object]:
    return [card["id"] for card in cards]


def every_prompt(site: Stack) -> list[str]:
    """The prompts that generation keeps."""
    with grpc.insecure_channel(f"127.0.0.1:{site.base + 1}") as channel:
        listed = generationrpc.GenerationServiceStub(channel).ListGenerations(ListGenerationsRequest(page_size=1000))
    return [generation.prompt for generation in listed.generations]


def test_the_feed_shows_published_artworks_newest_first_to_everybody(mei: Caller, stranger: Caller) -> None:
    older, newer, draft = mei.published("an owl"), mei.published("another owl"), mei.draft("a shy owl")

    listed = ids(stranger.ok("GET", "/api/feed", params={"limit": 100}))

    assert listed.index(newer) < listed.index(older)
    assert draft not in listed
    card = stranger.ok("GET", "/api/feed", params={"limit": 1})[0]
    assert CARD | {"user_state", "hot_score", "published_at"} <= set(card)
    assert httpx.get(card["thumb_url"]).headers["content-type"] == "image/webp"
    assert card["user_state"] == {"liked": False, "faved": False}
    assert card["author"] == {"id": mei.id, "name": "Mei", "profile_pic": "https://cdn.example/mei.png"}
    assert card["created_at"] > 1_700_000_000_000


def test_the_feed_pages_to_the_end_without_repeating(mei: Caller, stranger: Caller) -> None:
    for number in range(3):
        mei.published(f"owl number {number}")
    seen: list[object] = []
    cursor = ""
    while True:
        page = stranger.http.get("/api/feed", params={"limit": 2, "cursor": cursor}).json()
        seen += ids(page["data"])
        if not (cursor := page.get("nextCursor", "")):
            break

    assert len(seen) == len(set(seen)) >= 3


@pytest.mark.parametrize("limit", ["abc", "-1", "0", "1000000", "1e3", "", "\uff19"])
def test_a_silly_limit_means_the_default(stranger: Caller, limit: str) -> None:
    assert len(stranger.ok("GET", "/api/feed", params={"limit": limit})) <= 20


def test_a_forged_cursor_is_refused(stranger: Caller) -> None:
    for path in ("/api/feed", "/api/hotness/trending", "/api/users/user_mei/artworks"):
        status, _ = stranger.code("GET", path, params={"cursor": "bm90IG91cnM="})
        assert status == 400


def test_details_tell_the_owner_from_others(mei: Caller, ren: Caller, stranger: Caller) -> None:
    artwork = mei.published("a detailed owl", aspectRatio="16:9", model="flux-kontext-max", outputFormat="jpeg")
    detail = ren.ok("GET", f"/api/artworks/{artwork}")

    assert mei.ok("GET", f"/api/artworks/{artwork}")["is_author"] is True
    assert detail["is_author"] is False
    assert (detail["kie_model"], detail["kie_aspect_ratio"], detail["kie_output_format"]) == (
        "flux-kontext-max",
        "16:9",
        "jpeg",
    )
    assert detail["seo"]["title"]
    assert stranger.code("GET", "/api/artworks/art_unknown") == (404, "NOT_FOUND")


def test_a_persons_artworks_hold_drafts_for_themselves_only(mei: Caller, ren: Caller, stranger: Caller) -> None:
    draft, shown = mei.draft("a resting owl"), mei.published("a flying owl")
    path = f"/api/users/{mei.id}/artworks?limit=100"

    assert {draft, shown} <= set(ids(mei.ok("GET", path)))
    for other in (ren, stranger):
        listed = ids(other.ok("GET", path))
        assert shown in listed
        assert draft not in listed


def test_likes_and_favourites_are_lists_without_what_was_hidden_since(mei: Caller, ren: Caller) -> None:
    artwork = mei.published("a collected owl")
    ren.ok("POST", f"/api/artworks/{artwork}/like")
    ren.ok("POST", f"/api/artworks/{artwork}/favorite")

    for kind in ("likes", "favorites"):
        assert artwork in ids(ren.ok("GET", f"/api/users/{ren.id}/{kind}"))
    mei.ok("POST", f"/api/artworks/{artwork}/unpublish")
    for kind in ("likes", "favorites"):
        assert artwork not in ids(ren.ok("GET", f"/api/users/{ren.id}/{kind}"))


def test_me_is_camel_case_and_what_is_hidden_is_empty_there_too(site: Stack, stranger: Caller) -> None:
    """FE-B reads "hidden" from an empty name or address in its owner's own record."""
    with caller(site, "user_shy", name="Shy", email="shy@example.com") as shy:
        me = shy.ok("GET", "/api/users/me")
        assert set(me) == {"id", "name", "email", "profilePic", "createdAt", "updatedAt", "hideName", "hideEmail"}

        after = shy.ok("POST", "/api/users/me/privacy", json={"hideName": True})

        assert (after["name"], after["hideName"]) == ("", True)
        assert (after["email"], after["hideEmail"]) == ("", True)
        shown = shy.ok("POST", "/api/users/me/privacy", json={"hideName": False, "hideEmail": False})
        assert (shown["name"], shown["email"]) == ("Shy", "shy@example.com")
        assert shy.ok("GET", "/api/users/me") == shown
        shy.ok("POST", "/api/users/me/privacy", json={"hideName": True, "hideEmail": True})
    profile = stranger.ok("GET", "/api/users/user_shy/profile")
    assert profile["name"] == ""
    assert profile["email"] == ""


def test_a_token_that_says_less_blanks_nothing(site: Stack) -> None:
    with caller(site, "user_known", name="Known", email="known@example.com") as known:
        known.ok("GET", "/api/users/me")
    with caller(site, "user_known") as known:
        assert known.ok("GET", "/api/users/me")["name"] == "Known"


def test_summaries_are_made_for_whoever_asks(mei: Caller, stranger: Caller) -> None:
    draft = mei.draft("an owl of mine")

    assert draft in ids(mei.ok("GET", f"/api/users/{mei.id}/summary")["artworks"])
    summary = stranger.ok("GET", f"/api/users/{mei.id}/summary")
    assert draft not in ids(summary["artworks"])
    assert summary["profile"]["id"] == mei.id


def test_trending_knows_windows_and_categories(mei: Caller, ren: Caller, stranger: Caller) -> None:
    artwork = mei.published("a trending owl")
    ren.ok("POST", f"/api/artworks/{artwork}/favorite")

    for window in ("1h", "6h", "24h", "7d", "30d"):
        found = stranger.http.get(f"/api/hotness/trending/{window}", params={"limit": 100}).json()
        assert artwork in ids(found["data"])
        assert found["time_window"] == window
    assert artwork in ids(stranger.ok("GET", "/api/hotness/trending", params={"limit": 100}))
    assert artwork not in ids(stranger.ok("GET", "/api/hotness/trending?category=viral"))
    for wrong in ("?timeWindow=1y", "?category=cute", "/1y"):
        assert stranger.code("GET", f"/api/hotness/trending{wrong}") == (400, "INVALID_INPUT")


def test_hotness_is_the_one_formula(mei: Caller, ren: Caller, stranger: Caller) -> None:
    artwork = mei.published("a hot owl")
    ren.ok("POST", f"/api/artworks/{artwork}/like")
    ren.ok("POST", f"/api/artworks/{artwork}/favorite")

    found = stranger.ok("GET", f"/api/hotness/{artwork}")

    assert found["hotness"]["score"] == pytest.approx(3.0)  # one like, one favourite that counts twice, no age yet
    assert found["hotness"]["level"] == "new"
    assert found["artwork"]["hot_score"] == found["hotness"]["score"]
    assert stranger.ok("GET", f"/api/artworks/{artwork}/hot-data")["hot_score"] == found["hotness"]["score"]


def test_credits_that_are_off_ask_for_nothing(mei: Caller) -> None:
    """FE-B asks on every page, and again for ever while the answer is a failure."""
    assert mei.ok("GET", "/api/credits/me") == {"credits": 0, "held": 0}
    assert mei.ok("GET", "/api/checkin/status") == {
        "todayCheckedIn": True,
        "consecutiveDays": 0,
        "totalCheckins": 0,
        "lastCheckinDate": None,
    }
    answer = mei.http.post("/api/checkin/checkin")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {
        "success": False,
        "message": "This site has no credits: nothing costs any, and there is nothing to collect.",
        "data": {"creditsAdded": 0, "consecutiveDays": 0},
    }


def test_failed_works_and_those_being_made_are_in_no_list(mei: Caller) -> None:
    failed, slow = mei.ordered("a failing owl sim:fail"), mei.ordered("a slow owl sim:stuck")
    assert mei.finished(failed["id"])["status"] == "failed"
    draft = mei.draft("a finished owl")

    for listed in (
        ids(mei.ok("GET", f"/api/users/{mei.id}/artworks?limit=100")),
        ids(mei.ok("GET", f"/api/users/{mei.id}/summary?limit=100")["artworks"]),
    ):
        assert draft in listed
        assert not {failed["artworkId"], slow["artworkId"]} & set(listed)


@pytest.fixture
def rich(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Caller]]:
    """Somebody with four credits, in a stack where they count."""
    settings = {"AUTH_HS256_SECRET": SECRET, "CREDITS_ENABLED": "1", "CREDITS_INITIAL": "4"}
    data = tmp_path_factory.mktemp("credits") / "data"
    with (
        running(data, SANDBOX_GENERATION_SECONDS="1", SANDBOX_IMAGE_SIDE="128", **settings) as stack,
        caller(stack, "user_rich") as person,
    ):
        yield stack, person


def test_credits_hold_capture_and_release(rich: tuple[Stack, Caller]) -> None:
    stack, person = rich
    assert person.ok("GET", "/api/credits/me")["credits"] == 4
    person.draft("a paid owl")
    assert person.ok("GET", "/api/credits/me")["credits"] == 1

    short = person.code("POST", "/api/artworks/generate", json={"prompt": "an owl too many"})
    assert short == (402, "INSUFFICIENT_CREDITS")
    assert stack.bills("an owl too many") == []

    first = person.http.post("/api/checkin/checkin").json()
    second = person.http.post("/api/checkin/checkin").json()
    status = person.ok("GET", "/api/checkin/status")
    assert (first["success"], first["data"]) == (True, {"creditsAdded": 12, "consecutiveDays": 1})
    assert (second["success"], second["data"]["creditsAdded"]) == (False, 0)
    assert (status["todayCheckedIn"], status["totalCheckins"]) == (True, 1)

    order = person.ordered("a failing owl sim:fail")
    assert person.finished(order["id"])["status"] == "failed"
    until(lambda: person.ok("GET", "/api/credits/me") == {"credits": 13, "held": 0} or None)


def test_reports_and_takeout_and_erasure(site: Stack, mei: Caller, stranger: Caller) -> None:
    shown = mei.published("a reported owl")
    with caller(site, "user_leaving", name="Leaving") as leaving:
        artwork = leaving.published("an owl that will be gone")
        url = leaving.ok("GET", f"/api/artworks/{artwork}")["url"]
        leaving.ok("POST", f"/api/artworks/{shown}/like")
        assert leaving.ok("POST", f"/api/artworks/{shown}/report", json={"reason": "not an owl"})["reported"] is True

        records = leaving.ok("GET", "/api/users/me/export")["records"]
        assert records[0]["user"]["displayName"] == "Leaving"
        assert any(record.get("artwork", {}).get("name") == f"artworks/{artwork}" for record in records)
        assert any(record.get("like", {}).get("artwork") == f"artworks/{shown}" for record in records)

        with ZipFile(BytesIO(leaving.http.get("/api/users/me/export?format=zip").content)) as taken:
            assert json.loads(taken.read("records.json"))["data"]["records"] == records
            assert taken.read(f"files/{url.partition('/files/')[2]}") == httpx.get(url).content

        receipt = leaving.ok("DELETE", "/api/users/me")
        assert (receipt["artworks"], receipt["likes"]) == (1, 1)
    gone = f"/api/erasures/{receipt['receiptId']}"
    until(lambda: stranger.ok("GET", gone)["filesRemaining"] == 0 or None)
    assert stranger.code("GET", f"/api/artworks/{artwork}") == (404, "NOT_FOUND")
    until(lambda: httpx.get(url).status_code == 404 or None)
    assert stranger.ok("GET", f"/api/artworks/{shown}/state")["like_count"] == 0
    assert "an owl that will be gone" not in every_prompt(site)


def test_a_token_from_before_the_erasure_opens_nothing_and_a_later_one_begins_anew(site: Stack) -> None:
    """Also one that the gateway knew: a session elsewhere must not bring the person back."""
    before = {"name": "Leaving", "iat": int(time.time()) - 60}
    with caller(site, "user_leaving_twice", **before) as leaving:
        leaving.ok("GET", "/api/users/me")
        leaving.ok("DELETE", "/api/users/me")

        for method, path in (("GET", "/api/users/me"), ("POST", "/api/artworks/generate")):
            assert leaving.code(method, path, json={"prompt": "an owl"}) == (401, "ACCOUNT_ERASED")
    with caller(site, "user_leaving_twice") as undated:
        assert undated.code("GET", "/api/users/me") == (401, "ACCOUNT_ERASED")

    def welcome() -> bool | None:
        """A token issued in a later second than the erasure."""
        with caller(site, "user_leaving_twice", name="Back", iat=int(time.time())) as back:
            return back.http.get("/api/users/me").status_code == httpx.codes.OK or None

    assert until(welcome)
