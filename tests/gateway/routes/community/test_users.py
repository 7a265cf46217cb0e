"""Users over REST: profiles, lists of their artworks, export of their data, and erasure."""

import json
import time
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest

from tests.community.stubs import START_MS
from tests.gateway.auth.issuer import SignIn, publishing
from tests.gateway.routes.community.conftest import Caller, OpenSite, Site

PICTURE = "https://cdn.example/ann.png"


def ids(cards: list[dict[str, Any]]) -> list[str]:
    return [card["id"] for card in cards]


async def test_a_users_own_record_is_empty_where_they_hide_something(ann: Caller) -> None:
    me = await ann.ok("GET", "/api/users/me")

    assert me == {
        "id": ann.id,
        "name": "Ann",
        "email": "",
        "profilePic": PICTURE,
        "createdAt": START_MS,
        "updatedAt": START_MS,
        "hideName": False,
        "hideEmail": True,
    }
    assert await ann.ok("POST", "/api/users/me/privacy", json={}) == me
    hidden = await ann.ok("POST", "/api/users/me/privacy", json={"hideName": True})
    assert hidden == me | {"name": "", "hideName": True}
    assert await ann.ok("GET", "/api/users/me") == hidden


async def test_a_profile_is_everybodys_without_what_its_user_hides(site: Site, stranger: Caller) -> None:
    async with site.caller("user_shy", name="Shy", email="shy@example.com") as shy:
        await shy.ok("POST", "/api/users/me/privacy", json={"hideName": True, "hideEmail": False})

    assert await stranger.ok("GET", "/api/users/user_shy/profile") == {
        "id": "user_shy",
        "name": "",
        "email": "shy@example.com",
        "profilePic": "",
        "profile_pic": "",
        "createdAt": START_MS,
    }
    assert await stranger.error("GET", "/api/users/user_none/profile") == (404, "NOT_FOUND")


async def test_a_token_with_fewer_claims_blanks_nothing(site: Site, ann: Caller) -> None:
    await ann.ok("GET", "/api/users/me")

    async with site.caller(ann.id) as again:
        assert (await again.ok("GET", "/api/users/me"))["name"] == "Ann"


async def test_lists_of_a_users_artworks_hold_drafts_for_the_user_only(
    ann: Caller, bob: Caller, stranger: Caller
) -> None:
    draft, shown = await ann.saved("draft", "save-draft"), await ann.saved("shown")
    path = f"/api/users/{ann.id}"

    assert set(ids(await ann.ok("GET", f"{path}/artworks"))) == {draft, shown}
    assert set(ids((await ann.ok("GET", f"{path}/summary"))["artworks"])) == {draft, shown}
    for other in (bob, stranger):
        assert ids(await other.ok("GET", f"{path}/artworks")) == [shown]
        summary = await other.ok("GET", f"{path}/summary")
        assert (summary["profile"]["name"], ids(summary["artworks"])) == ("Ann", [shown])


@pytest.mark.parametrize(("reaction", "shelf"), [("like", "likes"), ("favorite", "favorites")])
async def test_what_a_user_likes_is_a_list_without_what_was_hidden_since(
    ann: Caller, bob: Caller, stranger: Caller, reaction: str, shelf: str
) -> None:
    kept, hidden = await ann.saved("kept"), await ann.saved("hidden")
    for artwork in (kept, hidden):
        await bob.ok("POST", f"/api/artworks/{artwork}/{reaction}")
    path = f"/api/users/{bob.id}/{shelf}"
    assert set(ids(await bob.ok("GET", path))) == {kept, hidden}

    await ann.ok("POST", f"/api/artworks/{hidden}/unpublish")

    assert ids(await bob.ok("GET", path)) == [kept]
    assert await stranger.error("GET", path) == (401, "AUTH_REQUIRED")


async def test_an_export_holds_all_of_a_users_data_as_json_or_with_the_files_as_a_zip(
    site: Site, ann: Caller, bob: Caller
) -> None:
    mine, theirs = await ann.saved("mine"), await bob.saved("theirs")
    await ann.ok("POST", f"/api/artworks/{theirs}/like")
    (key,) = await site.community.users._database.read(site.community.users._store.objects, ann.id)
    site.storage.kept[key] = b"bytes of the picture"

    answer = await ann.http.get("/api/users/me/export")
    packed = await ann.http.get("/api/users/me/export", params={"format": "zip"})

    assert answer.headers["content-disposition"] == 'attachment; filename="kawaii-export.json"'
    records = answer.json()["data"]["records"]
    assert records[0]["user"]["displayName"] == "Ann"
    assert [each["artwork"]["name"] for each in records if "artwork" in each] == [f"artworks/{mine}"]
    assert [each["like"]["artwork"] for each in records if "like" in each] == [f"artworks/{theirs}"]
    with ZipFile(BytesIO(packed.content)) as archive:
        assert json.loads(archive.read("records.json"))["data"]["records"] == records
        assert archive.read(f"files/{key}") == b"bytes of the picture"
    assert await ann.error("GET", "/api/users/me/export", params={"format": "pdf"}) == (400, "INVALID_INPUT")


async def test_an_erasure_answers_a_receipt_that_anybody_may_follow(
    site: Site, ann: Caller, bob: Caller, stranger: Caller
) -> None:
    mine, theirs = await ann.saved("mine"), await bob.saved("theirs")
    await ann.ok("POST", f"/api/artworks/{theirs}/like")

    receipt = await ann.ok("DELETE", "/api/users/me")
    path = f"/api/erasures/{receipt['receiptId']}"

    counts = {"artworks": 1, "likes": 1, "favorites": 0, "files": 1, "filesRemaining": 1, "erasedAt": START_MS}
    assert receipt == {"receiptId": receipt["receiptId"]} | counts
    assert await stranger.ok("GET", path) == receipt
    await site.community.deletion_worker.delete_due()
    assert await stranger.ok("GET", path) == receipt | {"filesRemaining": 0}
    assert await stranger.error("GET", f"/api/artworks/{mine}") == (404, "NOT_FOUND")
    assert (await stranger.ok("GET", f"/api/artworks/{theirs}/state"))["like_count"] == 0
    assert await stranger.error("GET", "/api/erasures/era_none") == (404, "NOT_FOUND")


async def test_a_token_from_before_an_erasure_opens_nothing_and_a_later_one_begins_anew(site: Site) -> None:
    site.clock.now = int(time.time() * 1000)
    async with site.caller("user_leaving", name="Leaving", iat=int(time.time()) - 60) as leaving:
        await leaving.ok("GET", "/api/users/me")
        await leaving.ok("DELETE", "/api/users/me")
        assert await leaving.error("GET", "/api/users/me") == (401, "ACCOUNT_ERASED")
        order = await leaving.error("POST", "/api/artworks/generate", json={"prompt": "a cat"})
        assert order == (401, "ACCOUNT_ERASED")
        assert await leaving.ok("GET", "/api/feed") == []  # what strangers may read stays readable
    async with site.caller("user_leaving") as undated:
        assert await undated.error("GET", "/api/users/me") == (401, "ACCOUNT_ERASED")

    site.clock.now -= 120_000
    async with site.caller("user_other", name="Other", iat=int(time.time()) - 60) as other:
        await other.ok("GET", "/api/users/me")
        await other.ok("DELETE", "/api/users/me")
    async with site.caller("user_other", name="Back", iat=int(time.time())) as back:
        assert (await back.ok("GET", "/api/users/me"))["name"] == "Back"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users/me"),
        ("DELETE", "/api/users/me"),
        ("POST", "/api/users/me/privacy"),
        ("GET", "/api/users/me/export"),
    ],
)
async def test_a_stranger_has_no_record(stranger: Caller, method: str, path: str) -> None:
    body = {"json": {}} if method == "POST" else {}

    assert await stranger.error(method, path, **body) == (401, "AUTH_REQUIRED")


async def test_a_site_without_google_signs_nobody_in(stranger: Caller) -> None:
    assert (await stranger.error("POST", "/api/auth/login", json={}))[0] == 400
    assert (await stranger.error("POST", "/api/auth/login", json={"token": "a.b.c"}))[0] == 501


async def test_a_google_token_is_exchanged_for_a_token_of_the_site(open_site: OpenSite) -> None:
    google = SignIn()
    google.rotate("one")
    async with publishing(google) as url:
        identity = {"auth_google_client_id": "our-client", "auth_google_jwks_url": url}
        async with open_site(gateway=identity) as site, site.caller() as stranger:
            given = google.token("one", iss="https://accounts.google.com", aud="our-client", picture=PICTURE)

            session = await stranger.ok("POST", "/api/auth/login", json={"credential": given})
            wrong = google.token("one", iss="https://accounts.google.com", aud="another-client")
            refusal = await stranger.error("POST", "/api/auth/login", json={"token": wrong})

            assert session["user"] == {"id": "google_user_1", "name": "Mei", "email": "", "profilePic": PICTURE}
            assert session["expiresIn"] == 86_400
            headers = {"Authorization": f"Bearer {session['token']}"}
            me = await stranger.ok("GET", "/api/users/me", headers=headers)
            assert (me["id"], me["name"]) == ("google_user_1", "Mei")
            assert refusal == (401, "INVALID_TOKEN")
