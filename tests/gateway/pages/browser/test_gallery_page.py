"""The gallery as a person scrolls through it: it goes on to its end, shows nothing twice, and survives a bad moment."""

from typing import Any

from playwright.async_api import Page, Route, expect

from tests.gateway.shapes import FILES

Doubles = Any  # of tests/gateway/conftest.py
PAGE_SIZE = 24


def fill(doubles: Doubles, number: int) -> None:
    for place in range(number):
        doubles.share.add(f"share_{place}", generated_uri=f"{FILES}/{place}.png", prompt=f"fox {place}")


async def scroll(page: Page) -> None:
    await page.evaluate("window.scrollTo(0, document.body.scrollHeight)")


async def test_the_gallery_goes_on_to_its_end_as_one_scrolls(page: Page, doubles: Doubles, origin: str) -> None:
    fill(doubles, 3 * PAGE_SIZE - 1)
    await page.goto(f"{origin}/share")
    tiles = page.locator(".tile")

    for number in (2 * PAGE_SIZE, 3 * PAGE_SIZE - 1):
        await scroll(page)
        await expect(tiles.nth(number - 1)).to_be_attached()

    await expect(tiles).to_have_count(3 * PAGE_SIZE - 1)
    await expect(page.locator(".more")).to_have_count(0)
    hrefs = await page.locator(".tile a").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert hrefs == [f"/share/share_{place}" for place in reversed(range(3 * PAGE_SIZE - 1))]


async def test_a_page_that_does_not_come_leaves_its_link(page: Page, doubles: Doubles, origin: str) -> None:
    fill(doubles, 2 * PAGE_SIZE)

    async def away(route: Route) -> None:
        await route.abort()

    await page.route("**/share?cursor=*", away)
    await page.goto(f"{origin}/share")
    await scroll(page)
    await expect(page.locator(".more")).to_contain_text("Try again")
    await page.unroute("**/share?cursor=*")
    await page.locator(".more a").click()

    await expect(page.locator(".tile")).to_have_count(PAGE_SIZE)
    await expect(page.locator(".tile a").first).to_have_attribute("href", f"/share/share_{PAGE_SIZE - 1}")
