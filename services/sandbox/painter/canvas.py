"""Puts a picture together from its recipe and encodes it."""

import io
import re

from PIL import Image

from services.sandbox.model import Picture
from services.sandbox.painter import caption, scenery
from services.sandbox.painter.brush import Brush
from services.sandbox.painter.creature import Creature
from services.sandbox.painter.dice import Dice
from services.sandbox.painter.palette import NAMED, SCENES

EDITION = 1  # raised when the same recipe gives other bytes, so that no old drawing is served
FINER = 2  # drawn so many times larger, then shrunk: Pillow's shapes have no soft edges of their own
FORMATS = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG"}
JPEG_QUALITY = 90


def paint(picture: Picture) -> bytes:
    """Draw a picture; equal recipes give equal bytes."""
    image = draw(picture)
    encoded = io.BytesIO()
    image.save(encoded, FORMATS[picture.extension], quality=JPEG_QUALITY)
    return encoded.getvalue()


def draw(picture: Picture) -> Image.Image:
    """Draw from back to front."""

    def dice(part: str) -> Dice:
        return Dice(picture.seed, part)

    words = re.findall(r"\w+", picture.caption.lower())
    scene = next((NAMED[word] for word in words if word in NAMED), dice("scene").pick(SCENES))
    canvas = scenery.sky((picture.width * FINER, picture.height * FINER), scene)
    brush = Brush(canvas)
    scenery.light(brush, scene, dice("light"))
    scenery.air(brush, scene, dice("air"))
    scenery.clouds(brush, scene, dice("clouds"))
    scenery.hills(brush, scene, dice("hills"))
    scenery.meadow(brush, scene, dice("meadow"))
    Creature(brush, dice("creature"), words).paint()
    image = canvas.reduce(FINER)
    caption.write(image, picture.caption)
    return image
