"""Hostile titles, names and avatars: kept as text, never as markup, paths or addresses."""

import re

import pytest

from tests.e2e.community.callers import caller
from tests.e2e.stack import Stack
from tests.storage.samples import picture

pytestmark = pytest.mark.e2e
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../etc/passwd",
    "%2e%2e%2fetc",
    "'; DROP TABLE artwork; --",
    "{{7*7}} ${7*7} #{7*7}",
    "\u202egnp.exe",
    "🏳️‍🌈👩‍👩‍👧",
    "鶴の夜",
    "=cmd|' /C calc'!A0",
    "a" * 150,
    "_" * 20,
)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_is_text_and_its_slug_is_a_path(site: Stack, title: str) -> None:
    with caller(site, "user_hostile", name=title) as person:
        form = {"files": {"file": ("x.png", picture(), "image/png")}, "data": {"title": title, "as_artwork": "1"}}
        artwork = person.ok("POST", "/api/artworks/upload", **form)
        detail = person.ok("GET", f"/api/artworks/{artwork['id']}")

    assert detail["title"] == title.replace("\u202e", "")  # what turns the direction of text is left out
    assert re.fullmatch(r"[\w-]+", detail["slug"])


@pytest.mark.parametrize("title", ["a\x00b", "x" * 5000])
def test_a_title_that_is_no_title_is_refused(site: Stack, title: str) -> None:
    with caller(site, "user_hostile") as person:
        status, _ = person.code("POST", "/api/artworks/generate", json={"prompt": "a gate", "title": title})

    assert status == 400


@pytest.mark.parametrize("avatar", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "http://", "x\r\ny"])
def test_an_avatar_that_is_no_address_is_none(site: Stack, avatar: str) -> None:
    with caller(site, f"user_{len(avatar)}", picture=avatar) as person:
        assert person.ok("GET", "/api/users/me")["profilePic"] == ""
