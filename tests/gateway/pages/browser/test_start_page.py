"""The start page as a person uses it: a wish, its progress, the picture, the share; and what a failure shows."""

import asyncio
from pathlib import Path
from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb
from playwright.async_api import Page, Route, expect

from services.chassis.errors import ResourceExhausted
from tests.gateway.shapes import FILES

Doubles = Any  # of tests/gateway/conftest.py
Generation = generationpb.Generation
TEMPORARY = "https://tempfile.example/a.png"
KEPT = f"{FILES}/generated/gen_1.png"
REFUSAL = "You have made ten pictures today. Come back tomorrow."


async def sees(page: Page, selector: str, words: str) -> None:
    """Let the page's time pass until it shows the words."""
    async with asyncio.timeout(10):
        while words not in await page.locator(selector).inner_text():
            await page.clock.run_for(500)


async def order(page: Page, prompt: str) -> None:
    """Type a wish and press the button."""
    await page.get_by_label("Your wish").fill(prompt)
    await page.get_by_role("button", name="Make it").click()


def draw(doubles: Doubles, percent: int) -> None:
    """Let the provider be so far with the picture."""
    doubles.generation.rows["gen_1"].state = Generation.STATE_RUNNING
    doubles.generation.rows["gen_1"].progress_percent = percent


def finish(doubles: Doubles, output: Generation.Output) -> None:
    """Let the picture be made."""
    row = doubles.generation.rows["gen_1"]
    row.state = Generation.STATE_SUCCEEDED if output.uri else Generation.STATE_STORING
    row.outputs.append(output)


async def test_a_wish_becomes_a_picture_and_a_share(page: Page, doubles: Doubles, origin: str) -> None:
    doubles.share.add("share_old", generated_uri=f"{FILES}/old.png", prompt="an old one")
    await page.reload()

    await order(page, "a fox <b>in snow</b>")
    await sees(page, "#state", "Waiting for the first brush stroke")
    draw(doubles, 35)
    await sees(page, "#percent", "35 %")
    await sees(page, "#state", "Drawing")
    await expect(page.get_by_role("button", name="Make it")).to_be_disabled()
    finish(doubles, Generation.Output(uri=KEPT))
    await sees(page, "#sharing", "Share it")

    picture = page.get_by_alt_text("a fox <b>in snow</b>")
    await expect(picture).to_have_attribute("src", KEPT)
    assert await picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 48
    await expect(page.get_by_role("link", name="Download")).to_have_attribute("href", KEPT)
    await expect(page.get_by_label("By link only")).to_be_checked()
    await page.get_by_label("In the public gallery").check()
    await page.get_by_role("button", name="Share it").click()
    await expect(page.get_by_label("It is in the public gallery")).to_have_value(f"{origin}/share?id=share_2")
    await expect(page.locator("#latest .tile-text")).to_have_text(["a fox <b>in snow</b>", "an old one"])
    assert doubles.share.rows[0].stored
    assert (doubles.share.rows[0].published, doubles.share.rows[0].unlisted) == (True, False)
    assert doubles.share.rows[0].model == doubles.generation.rows["gen_1"].model == "gpt4o-image"


async def test_a_picture_to_start_from_goes_to_the_chosen_model(
    page: Page, doubles: Doubles, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "start.png").write_bytes(png)

    await page.get_by_role("radio", name="Flux Kontext Max").check()
    await expect(page.get_by_role("radio", name="2:3")).to_be_hidden()
    await page.get_by_role("radio", name="9:16").check()
    await page.locator("#picture").set_input_files(tmp_path / "start.png")
    await expect(page.get_by_alt_text("The picture to start from")).to_be_visible()
    await order(page, "as a doll")
    await sees(page, "#state", "Waiting for the first brush stroke")
    draw(doubles, 35)
    await sees(page, "#percent", "35 %")

    placed = doubles.generation.rows["gen_1"]
    assert (placed.model, placed.prompt, placed.aspect_ratio) == ("flux-kontext-max", "as a doll", "9:16")
    assert list(placed.image_uris) == [f"{FILES}/uploads/0.png"]
    assert doubles.storage.kept == {"uploads/0.png": png}


async def test_a_share_is_by_link_alone_unless_asked_without_the_photo_and_can_be_taken_back(
    page: Page, doubles: Doubles, origin: str, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "start.png").write_bytes(png)
    await page.locator("#picture").set_input_files(tmp_path / "start.png")
    await order(page, "as a doll")
    await sees(page, "#state", "Waiting for the first brush stroke")
    finish(doubles, Generation.Output(uri=KEPT))
    await sees(page, "#sharing", "Share it")
    await expect(page.get_by_label("Also show the picture you started from")).not_to_be_checked()

    await page.get_by_role("button", name="Share it").click()
    await expect(page.get_by_label("Only whoever has this link")).to_have_value(f"{origin}/share?id=share_1")
    (shared,) = doubles.share.rows
    assert (shared.unlisted, shared.published, shared.original_uri) == (True, False, "")

    await page.reload()
    await sees(page, "#shared", "Only whoever has this link")
    await page.get_by_role("button", name="Take it back").click()
    await expect(page.get_by_role("button", name="Share it")).to_be_visible()
    assert doubles.share.rows == []

    await page.get_by_label("Also show the picture you started from").check()
    await page.get_by_role("button", name="Share it").click()
    await expect(page.get_by_label("Only whoever has this link")).to_be_visible()
    assert doubles.share.rows[0].original_uri == f"{FILES}/uploads/0.png"


async def test_a_share_whose_publication_fails_is_kept_by_link_and_can_still_be_published(
    page: Page, doubles: Doubles
) -> None:
    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")
    finish(doubles, Generation.Output(uri=KEPT))
    await sees(page, "#sharing", "Share it")

    await page.route("**/api/share/share_1", busy, times=1)
    await page.get_by_label("In the public gallery").check()
    await page.get_by_role("button", name="Share it").click()
    await expect(page.get_by_role("alert")).to_have_text("The drawing service is resting.")
    assert (doubles.share.rows[0].published, doubles.share.rows[0].unlisted) == (False, True)

    await page.get_by_role("button", name="Share it").click()
    await expect(page.get_by_label("It is in the public gallery")).to_be_visible()
    assert (doubles.share.rows[0].published, doubles.share.rows[0].unlisted) == (True, False)


async def test_a_picture_is_shared_only_once_its_copy_is_kept(page: Page, doubles: Doubles) -> None:
    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")
    finish(doubles, Generation.Output(source_uri=TEMPORARY, error_message="The disk is full."))
    await sees(page, "#state", "Keeping it safe")
    await expect(page.get_by_alt_text("a fox")).to_have_attribute("src", TEMPORARY)
    await expect(page.get_by_role("button", name="Share it")).to_be_hidden()
    doubles.storage.add("generated/gen_1.png", generation_id="gen_1")
    await sees(page, "#sharing", "Share it")

    await expect(page.get_by_alt_text("a fox")).to_have_attribute("src", KEPT)


async def test_a_picture_that_does_not_load_is_admitted(page: Page, doubles: Doubles) -> None:
    await page.route(KEPT, lambda route: route.abort())

    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")
    finish(doubles, Generation.Output(uri=KEPT))
    await sees(page, "#sharing", "Share it")

    await expect(page.get_by_role("alert")).to_contain_text("could not be loaded")


async def test_a_refused_wish_is_explained_and_may_be_made_anew(page: Page, doubles: Doubles) -> None:
    keys: list[str | None] = []
    page.on("request", lambda request: keys.append(request.headers.get("idempotency-key")))
    doubles.generation.failure = ResourceExhausted(REFUSAL)

    await order(page, "a fox")
    await expect(page.get_by_role("alert")).to_have_text(REFUSAL)
    await expect(page.get_by_text("No picture this time.")).to_be_visible()
    doubles.generation.failure = None
    await page.get_by_role("button", name="Make it").click()
    await sees(page, "#state", "Waiting for the first brush stroke")

    assert len({key for key in keys if key}) == 2


async def test_a_failed_picture_is_explained_in_the_models_words(page: Page, doubles: Doubles) -> None:
    await page.get_by_role("radio", name="Flux Kontext Pro").check()
    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")
    row = doubles.generation.rows["gen_1"]
    row.state, row.error.message = Generation.STATE_FAILED, "Your wish breaks the rules."
    await sees(page, "#easel", "Your wish breaks the rules.")

    await page.reload()
    await expect(page.get_by_text("Your picture will appear here.")).to_be_visible()


async def test_two_bad_polls_are_forgiven_and_the_third_ends_the_wait(page: Page, doubles: Doubles) -> None:
    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")

    await page.route("**/api/image-details*", busy, times=2)
    draw(doubles, 35)
    await sees(page, "#percent", "35 %")
    await page.route("**/api/image-details*", busy, times=1)
    await sees(page, "#easel", "The drawing service is resting.")

    await expect(page.get_by_role("alert")).to_contain_text("reload this page to look again")
    await page.reload()
    await sees(page, "#percent", "35 %")


async def busy(route: Route) -> None:
    """Answer as a gateway whose service is away."""
    sentence = "The drawing service is resting."
    await route.fulfill(status=503, json={"success": False, "error": sentence, "code": "X", "message": sentence})


async def test_a_reload_goes_on_with_the_same_picture(page: Page, doubles: Doubles) -> None:
    await order(page, "a fox")
    await sees(page, "#state", "Waiting for the first brush stroke")
    draw(doubles, 35)

    await page.reload()
    await sees(page, "#percent", "35 %")
    finish(doubles, Generation.Output(uri=KEPT))
    await sees(page, "#sharing", "Share it")

    await expect(page.get_by_alt_text("a fox")).to_have_attribute("src", KEPT)
    assert len(doubles.generation.rows) == 1


async def test_a_repeated_order_after_a_lost_answer_carries_the_same_key(page: Page, doubles: Doubles) -> None:
    async def lose_answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route("**/api/generate-image", lose_answer, times=1)
    await order(page, "a fox")
    await expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    await page.get_by_role("button", name="Make it").click()
    await sees(page, "#state", "Waiting for the first brush stroke")

    first, second = doubles.generation.request_ids
    assert first == second != ""


async def test_a_phone_shows_everything_without_scrolling_sideways(page: Page, doubles: Doubles, origin: str) -> None:
    doubles.share.add("share_1", generated_uri=f"{FILES}/1.png", prompt="w" * 200)
    await page.set_viewport_size({"width": 360, "height": 740})

    for path in ("/", "/share", "/share/share_1", "/share/none"):
        await page.goto(f"{origin}{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
