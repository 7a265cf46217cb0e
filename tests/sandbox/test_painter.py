"""Pictures are the same each time, and differ where they should."""

import io

import pytest
from PIL import Image

from services.sandbox.model import Picture, digest_of
from services.sandbox.painter import draw, paint


def picture(prompt: str, width: int = 120, height: int = 80, extension: str = "png") -> Picture:
    return Picture(digest_of(prompt), width, height, extension, prompt)


def test_equal_pictures_give_equal_bytes() -> None:
    assert paint(picture("a cat")) == paint(picture("a cat"))


def test_different_prompts_give_different_pictures() -> None:
    drawn = {draw(picture(f"prompt {number}")).tobytes() for number in range(12)}

    assert len(drawn) == 12


@pytest.mark.parametrize(("extension", "format_"), [("png", "PNG"), ("jpeg", "JPEG"), ("jpg", "JPEG")])
def test_the_bytes_have_the_asked_format_and_size(extension: str, format_: str) -> None:
    with Image.open(io.BytesIO(paint(picture("a cat", 160, 90, extension)))) as image:
        assert (image.format, image.size) == (format_, (160, 90))


def test_a_picture_is_colourful() -> None:
    colors = draw(picture("a cat")).getcolors(maxcolors=120 * 80)

    assert colors is not None
    assert len(colors) > 500


@pytest.mark.parametrize("prompt", ["", "   ", "猫がお茶を飲む", "🐱", "x" * 5000])
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert draw(picture(prompt)).size == (120, 80)


def test_the_caption_is_written() -> None:
    with_words = Picture(digest_of("q"), 300, 300, "png", "qqq")
    without = Picture(digest_of("q"), 300, 300, "png", "")

    assert paint(with_words) != paint(without)
