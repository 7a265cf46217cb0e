"""Everyone x every route x every state of an artwork: the expected code in each cell."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e.community.callers import SITE, Caller, caller, token
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
STATES = ("draft", "published", "generating", "unknown")
WHO = ("owner", "other", "anonymous", "expired", "forged")

# path, method, and the codes for (owner, other, nobody) by state; expired and forged tokens are nobody's
# A draft opens for whoever holds its id, since front ends render its page without a token; all that names it is closed.
READ = {
    "draft": (200, 200, 200),
    "published": (200, 200, 200),
    "generating": (200, 404, 404),
    "unknown": (404, 404, 404),
}
STATE = dict.fromkeys(STATES, (200, 200, 200))
REACT = {
    "draft": (409, 404, 401),
    "published": (200, 200, 401),
    "generating": (409, 404, 401),
    "unknown": (404, 404, 401),
}
UNREACT = {**REACT, "draft": (200, 404, 401), "generating": (200, 404, 401)}
OWN = {
    "draft": (200, 404, 401),
    "published": (200, 403, 401),
    "generating": (409, 404, 401),
    "unknown": (404, 404, 401),
}
OWN_STATUS = {
    "draft": (200, 404, 401),
    "published": (200, 404, 401),
    "generating": (200, 404, 401),
    "unknown": (404, 404, 401),
}
ROUTES = {
    ("GET", ""): READ,
    ("GET", "/state"): STATE,
    ("GET", "/generation-status"): OWN_STATUS,
    ("POST", "/like"): REACT,
    ("DELETE", "/like"): UNREACT,
    ("POST", "/favorite"): REACT,
    ("DELETE", "/favorite"): UNREACT,
    ("POST", "/publish"): {**OWN, "draft": (200, 404, 401)},
}
GUARDED = (
    ("GET", "/api/users/me"),
    ("POST", "/api/users/me/privacy"),
    ("GET", "/api/users/me/export"),
    ("DELETE", "/api/users/me"),
    ("GET", "/api/users/user_x/favorites"),
    ("GET", "/api/users/user_x/likes"),
    ("POST", "/api/artworks/generate"),
    ("POST", "/api/artworks/upload"),
    ("POST", "/api/artworks/save-draft"),
    ("POST", "/api/artworks/publish"),
    ("POST", "/api/artworks/art_x/unpublish"),
    ("POST", "/api/artworks/art_x/regenerate"),
    ("POST", "/api/artworks/art_x/report"),
    ("DELETE", "/api/artworks/art_x"),
    ("GET", "/api/credits/me"),
    ("GET", "/api/checkin/status"),
    ("POST", "/api/checkin/checkin"),
)


@dataclass(frozen=True)
class Cast:
    """Callers by name, and one artwork in each state."""

    callers: dict[str, Caller]
    artworks: dict[str, str]


@pytest.fixture(scope="module")
def cast(site: Stack) -> Iterator[Cast]:
    headers = {
        "expired": {"Authorization": f"Bearer {token('user_owner', exp=int(time.time()) - 3600)}"},
        "forged": {"Authorization": f"Bearer {token('user_owner', secret='another secret, of a good length too')}"},
        "anonymous": {},
    }
    nobodies = {
        name: Caller(httpx.Client(base_url=site.url, headers=each, timeout=20)) for name, each in headers.items()
    }
    with caller(site, "user_owner") as owner, caller(site, "user_other") as other:
        artworks = {
            "draft": owner.draft("a draft of access"),
            "published": owner.published("a picture for all"),
            "generating": owner.ordered("a slow picture sim:stuck")["artworkId"],
            "unknown": "art_unknown",
        }
        yield Cast({"owner": owner, "other": other, **nobodies}, artworks)
    for nobody in nobodies.values():
        nobody.http.close()


def test_a_draft_seen_by_others_is_unlisted(cast: Cast) -> None:
    artwork = cast.artworks["draft"]
    for who in ("other", "anonymous", "expired", "forged"):
        answer = cast.callers[who].http.get(f"/api/artworks/{artwork}")

        shown = answer.json()["data"]
        assert (shown["status"], shown["is_author"], shown.get("prompt")) == ("draft", False, None)
        assert "a draft of access" not in shown["seo"]["description"]
        assert answer.headers["x-robots-tag"] == "noindex"
        assert answer.headers["cache-control"] == "no-store"
    own = cast.callers["owner"].http.get(f"/api/artworks/{artwork}")
    assert own.json()["data"]["prompt"] == "a draft of access"
    published = cast.callers["other"].http.get(f"/api/artworks/{cast.artworks['published']}")
    assert "x-robots-tag" not in published.headers


def column(who: str) -> int:
    return {"owner": 0, "other": 1}.get(who, 2)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("method", "suffix"), [route for route in ROUTES if route[1] != "/publish"])
def test_cell(cast: Cast, who: str, method: str, suffix: str, state: str) -> None:
    answer = cast.callers[who].http.request(method, f"/api/artworks/{cast.artworks[state]}{suffix}")

    assert answer.status_code == ROUTES[method, suffix][state][column(who)], answer.text
    assert answer.json()["success"] is (answer.status_code == 200)


@pytest.mark.parametrize("who", ["anonymous", "expired", "forged"])
@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_nobody_passes_a_guarded_route(cast: Cast, who: str, method: str, path: str) -> None:
    code = cast.callers[who].code(method, path, json={})

    assert code == (401, "AUTH_REQUIRED" if who == "anonymous" else "INVALID_TOKEN")


def test_an_old_cookie_does_not_close_the_feed(cast: Cast) -> None:
    for who in WHO:
        assert cast.callers[who].ok("GET", "/api/feed") is not None


def test_spoofed_identity_headers_are_nobodys(site: Stack) -> None:
    for header in ("X-User-Id", "X-Viewer-Id", "X-Forwarded-User", "X-Authenticated-User"):
        assert httpx.get(f"{site.url}/api/users/me", headers={header: "user_owner"}).status_code == 401


def test_another_sites_page_cannot_write_with_the_cookie(cast: Cast, site: Stack) -> None:
    cookies = {"__session": token("user_other")}
    path = f"{site.url}/api/artworks/{cast.artworks['published']}/like"

    foreign = httpx.post(path, cookies=cookies, headers={"Origin": "https://evil.example"})
    own = httpx.post(path, cookies=cookies, headers={"Origin": SITE})

    assert foreign.status_code == 403
    assert own.status_code == 200
    assert own.headers["access-control-allow-origin"] == SITE
    assert own.headers["access-control-allow-credentials"] == "true"
