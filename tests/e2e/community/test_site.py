"""The second family's front end in Chromium: the same calls in the same order, and the same rules.

See docs/rest.md#community-front-end.
"""

from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.community.callers import Caller, token
from tests.e2e.stack import Stack
from tests.gateway.pages.browser.conftest import ARGUMENTS, CHROMIUM
from tests.storage.samples import picture

pytestmark = pytest.mark.e2e
PATIENCE_MS = 45_000  # a generation on a busy machine
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, pages: str, site: Stack) -> Iterator[Open]:
    """Opens a page of the front end as somebody; its failures are the test's."""
    made: list[Page] = []

    def open_(name: str, subject: str = "") -> Page:
        page = chromium.new_page()
        page.set_default_timeout(PATIENCE_MS)
        held = {"token": token(subject, name="Mei")} if subject else {}
        page.goto(f"{pages}/{name}.html?{urlencode({'stack': site.url, 'interval': '300'} | held)}")
        made.append(page)
        return page

    yield open_
    for page in made:
        page.close()


def generated(page: Page, prompt: str) -> None:
    """Order a picture and see it."""
    page.fill("#prompt", prompt)
    page.click("#generate")
    expect(page.locator("#status")).to_have_text("completed", timeout=PATIENCE_MS)
    expect(page.locator("#result")).to_have_js_property("complete", value=True)
    assert page.locator("#result").evaluate("picture => picture.naturalWidth") > 0
    expect(page.locator("#error")).to_be_empty()


def test_from_a_prompt_to_the_feed(opened: Open) -> None:
    studio = opened("studio", "user_mei")
    generated(studio, "a kite over the sea")
    studio.click("#save")
    expect(studio.locator("#saved")).to_contain_text("draft art_")
    studio.click("#publish")
    expect(studio.locator("#saved")).to_contain_text("published /artwork/art_")
    artwork, slug = (studio.text_content("#saved") or "").split("/")[-2:]

    feed = opened("feed", "user_ren")

    card = feed.locator(f"#{artwork}")
    expect(card.locator("a")).to_have_attribute("href", f"/artwork/{artwork}/{slug}")
    assert slug
    for action in ("like", "favorite"):
        button = card.locator(f".{action}")
        button.click()
        expect(button).to_have_text(f"{action} 1")
        expect(button).to_have_attribute("data-mine", "true")
    card.locator(".like").click()
    expect(card.locator(".like")).to_have_text("like 0")
    expect(feed.locator("#error")).to_be_empty()
    expect(feed.locator("#me")).to_contain_text("user_ren")


def test_an_uploaded_picture_is_changed(opened: Open) -> None:
    studio = opened("studio", "user_mei")
    studio.set_input_files("#picture", {"name": "kite.png", "mimeType": "image/png", "buffer": picture()})

    generated(studio, "the same kite, at night")


def test_a_failure_is_told_in_words(opened: Open) -> None:
    studio = opened("studio", "user_mei")
    studio.fill("#prompt", "a broken kite sim:fail")
    studio.click("#generate")

    expect(studio.locator("#status")).to_contain_text("failed: ")
    assert len(studio.text_content("#status") or "") > len("failed: ")


def test_strangers_see_the_feed_and_are_asked_to_sign_in_before_they_like(opened: Open, mei: Caller) -> None:
    artwork = mei.published("a kite for strangers")
    feed = opened("feed")

    expect(feed.locator("#error")).to_contain_text("AUTH_REQUIRED")  # users/me
    feed.locator(f"#{artwork} .like").click()
    expect(feed.locator("#error")).to_contain_text("AUTH_REQUIRED")
    expect(feed.locator(f"#{artwork} .like")).to_have_text("like 0")


def test_trending_shows_what_people_like(opened: Open, mei: Caller, ren: Caller) -> None:
    artwork = mei.published("a kite that everybody likes")
    ren.ok("POST", f"/api/artworks/{artwork}/like")

    feed = opened("feed")

    expect(feed.locator("#trending")).to_contain_text(f"{artwork} 1 stable")
