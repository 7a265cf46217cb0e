"""Writes the prompt's first words at the bottom, in the font that comes with Pillow."""

from PIL import Image, ImageDraw, ImageFont

from services.sandbox.painter.palette import INK, WHITE

MAX_WORDS, MAX_LETTERS = 8, 44
LETTER_SIZE = 0.03  # of the short side
KNOWN = range(0x20, 0x17F)  # the font has these letters; others would be boxes


def words(text: str) -> str:
    """The first words that can be written."""
    known = "".join(letter if ord(letter) in KNOWN else " " for letter in text)
    found = known.split()
    line = " ".join(found[:MAX_WORDS])[:MAX_LETTERS].strip()
    return line if line == " ".join(found) else f"{line}..."


def write(image: Image.Image, text: str) -> None:
    """Write a caption on a pale band; nothing without words."""
    line = words(text) if text.strip() else ""
    if not line.strip("."):
        return
    size = min(image.size) * LETTER_SIZE
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image, "RGBA")
    half, middle, base = draw.textlength(line, font) / 2, image.width / 2, image.height - size * 1.5
    box = (middle - half - size, base - size * 0.9, middle + half + size, base + size * 0.9)
    draw.rounded_rectangle(box, size * 0.9, (*WHITE, 150))
    draw.text((middle, base), line, (*INK, 235), font, anchor="mm")
