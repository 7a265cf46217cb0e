"""Draws a small round animal in a soft landscape; equal pictures give equal bytes.

Places and sizes are in units, a hundredth of a picture's short side, so that every size looks alike; the shapes of the
animal are in parts of half its width, about its middle. The seed decides everything, except that words of the caption
may name the ears (a cat) or the sky (a sunset).
"""

import io
import math
import re
from collections.abc import Iterable, Mapping
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from services.sandbox.model import Picture

EDITION = 2  # raised when the same picture gives other bytes, so that no old drawing is served
FINER = 2  # drawn so many times larger, then shrunk: Pillow's shapes have no soft edges of their own
FORMATS = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG"}
JPEG_QUALITY = 90
ARC_STEPS, HILL_STEPS, SKY_STEPS = 48, 80, 256  # so many that no step is seen
LINE = 0.55  # half the width of a line, in units
CAPTION_WORDS, CAPTION_LETTERS = 8, 44
CAPTION_SIZE = 0.03  # height of a letter, as a part of the short side
CAPTION_KNOWN = range(0x20, 0x17F)  # Pillow's own font has these letters; others would be boxes

Color = tuple[int, int, int]
Point = tuple[float, float]


def rgb(text: str) -> Color:
    """A colour from six hex digits."""
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def mix(one: Color, other: Color, part: float) -> Color:
    """A colour between two; part 0 is the first."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


class Ellipse(NamedTuple):
    """An ellipse about a middle; wide and high are half its size. The colour is a name."""

    x: float
    y: float
    wide: float
    high: float
    color: str
    alpha: int = 255


class Polygon(NamedTuple):
    """A filled polygon. The colour is a name."""

    color: str
    points: tuple[Point, ...]
    alpha: int = 255


class Arc(NamedTuple):
    """A line of ink along an ellipse, with round ends; angles in degrees, clockwise from the right."""

    x: float
    y: float
    wide: float
    high: float
    begin: float
    end: float


Shape = Ellipse | Polygon | Arc
Shapes = tuple[Shape, ...]


def mirrored(*shapes: Shape) -> Shapes:
    """Shapes on the right side, and the same on the left."""
    flipped = [
        shape._replace(points=tuple((-x, y) for x, y in shape.points))
        if isinstance(shape, Polygon)
        else shape._replace(x=-shape.x)
        for shape in shapes
    ]
    return (*shapes, *flipped)


def star(color: str, x: float = 0, y: float = 0, size: float = 1, *, tips: int = 5, alpha: int = 255) -> Polygon:
    """A star with one tip up; four tips make a sparkle."""
    radii = (size, size * (0.28 if tips == 4 else 0.5))  # noqa: PLR2004  a sparkle is slimmer
    turns = [(math.pi * corner / tips, radii[corner % 2]) for corner in range(2 * tips)]
    return Polygon(color, tuple((x + r * math.sin(turn), y - r * math.cos(turn)) for turn, r in turns), alpha)


def flower(color: str, x: float = 0, y: float = 0, size: float = 1) -> Shapes:
    """Five petals about a white middle."""
    turns = [math.tau * petal / 5 for petal in range(5)]
    petals = [Ellipse(x + size * math.sin(t), y - size * math.cos(t), size * 0.7, size * 0.7, color) for t in turns]
    return (*petals, Ellipse(x, y, size * 0.6, size * 0.6, "white"))


class Scene(NamedTuple):
    """Colours of a sky from top to horizon, of hills from far to near, and of sun or moon. Night skies have stars."""

    sky: tuple[Color, ...]
    hills: tuple[Color, ...]
    light: Color
    night: bool = False


def scene(sky: str, hills: str, light: str, *, night: bool = False) -> Scene:
    """A scene from hex digits."""
    return Scene(tuple(map(rgb, sky.split())), tuple(map(rgb, hills.split())), rgb(light), night)


SCENES = (
    scene("a9d6ff cfe9ff fff3e2", "b9e3d0 9fd8b4 86c99a", "fff3b8"),  # a spring morning
    scene("ffc3dc ffd9e6 fff1dd", "f7c6d9 e9aecb cf9fd0", "fff6d2"),  # cherry blossom
    scene("c9c2ff e3d4ff ffe3ee", "cfd2f7 b6c3ee 9db4e0", "fff0f8"),  # lavender
    scene("ffb8a3 ffd3b0 fff0c9", "f5c59f e6ad8f c995a0", "fff7cf"),  # a peach evening
    scene("a8ece2 c9f5ec f6ffe9", "bfe9c4 a4deb3 83cdb0", "fffbd0"),  # mint
    scene("8ec9f5 b5e3f7 e9fbff", "a6dcec 8accdf f4dfb6", "fffbe0"),  # the seaside
    scene("4a4a8f 7e6fb8 d9a5cf", "7468ad 5f5a9c 4c4c86", "fff4cf", night=True),  # a violet night
    scene("2f4a7d 5479ae a8c8dc", "5b86a5 47708f 38597a", "fdf6dc", night=True),  # a blue night
    scene("fff0b8 ffe6c2 ffeede", "d9e8a4 bfdc92 a2cb88", "fffdf0"),  # a lemon noon
)
SCENES_BY_WORD: dict[str, Scene] = {
    **dict.fromkeys(("sakura", "blossom", "blossoms", "cherry", "love", "pink"), SCENES[1]),
    **dict.fromkeys(("sunset", "evening", "autumn", "desert", "orange"), SCENES[3]),
    **dict.fromkeys(("sea", "beach", "ocean", "island", "summer"), SCENES[5]),
    **dict.fromkeys(("night", "moon", "moonlit", "stars", "starry", "space", "dream"), SCENES[6]),
    **dict.fromkeys(("winter", "snow", "midnight", "neon", "galaxy"), SCENES[7]),
}
WHITE, INK, BLUSH = rgb("ffffff"), rgb("4a3a52"), rgb("ff8ca0")
COATS = tuple(  # body, and a lighter tone for belly and inner ears
    (rgb(body), rgb(light))
    for body, light in (
        ("fff7ef", "ffe3e3"), ("ffd1dc", "fff0f3"), ("ffe3a8", "fff6dc"), ("c8e6ff", "effaff"), ("d9cbff", "f3edff"),
        ("c6f0d2", "effcf2"), ("f2cfae", "ffefdd"), ("c9c4d6", "f0eef6"), ("ffbfa8", "ffe9df"),
    )
)  # fmt: skip
TRIMS = tuple(map(rgb, ("ff8fab", "ff9f6e", "7cc6fe", "a78bfa", "ffcf56", "5fcf9a")))
FIXED_COLORS = {"white": WHITE, "ink": INK, "blush": BLUSH, "leaf": rgb("7ec88c"), "gold": rgb("ffd666")}

BODY: Shapes = (
    Ellipse(0, 0.9, 1.02, 0.2, "ink", 46),
    *mirrored(Ellipse(0.42, 0.86, 0.26, 0.15, "shade")),
    Ellipse(0, 0.03, 1.0, 0.92, "shade"),
    Ellipse(0, 0, 1.0, 0.9, "coat"),
    Ellipse(0, 0.5, 0.56, 0.36, "soft"),
    Ellipse(-0.42, -0.52, 0.2, 0.1, "white", 120),
    *mirrored(Ellipse(0.9, 0.36, 0.17, 0.22, "shade"), Ellipse(0.88, 0.33, 0.16, 0.21, "coat")),
    *mirrored(Ellipse(0.56, 0.16, 0.15, 0.09, "blush", 150)),
)
BEAR_EARS = mirrored(Ellipse(0.64, -0.7, 0.3, 0.3, "shade"), Ellipse(0.64, -0.67, 0.17, 0.17, "inner"))
CAT_EARS = mirrored(
    Polygon("shade", ((0.9, -0.28), (0.82, -1.12), (0.2, -0.78))),
    Polygon("inner", ((0.78, -0.5), (0.74, -0.94), (0.4, -0.72))),
)
BUNNY_EARS = mirrored(Ellipse(0.4, -1.16, 0.21, 0.55, "shade"), Ellipse(0.4, -1.16, 0.11, 0.4, "inner"))
SPROUT: Shapes = (
    Polygon("leaf", ((-0.035, -0.85), (-0.02, -1.2), (0.03, -1.2), (0.05, -0.85))),
    Ellipse(-0.19, -1.2, 0.2, 0.11, "leaf"),
    Ellipse(0.2, -1.25, 0.2, 0.11, "leaf"),
)
FEATHERS: Shapes = (*mirrored(Ellipse(0.16, -0.95, 0.1, 0.22, "shade")), Ellipse(0, -1.02, 0.1, 0.22, "shade"))
ANTENNAE = mirrored(
    Polygon("shade", ((0.22, -0.8), (0.46, -1.2), (0.5, -1.17), (0.3, -0.8))),
    Ellipse(0.49, -1.24, 0.12, 0.12, "trim"),
)
EARS = (BEAR_EARS, CAT_EARS, BUNNY_EARS, SPROUT, FEATHERS, ANTENNAE)
EARS_BY_WORD: dict[str, Shapes] = {
    **dict.fromkeys(("cat", "cats", "kitten", "kitty", "fox", "tiger", "lion"), CAT_EARS),
    **dict.fromkeys(("bunny", "rabbit", "hare", "bunnies", "rabbits"), BUNNY_EARS),
    **dict.fromkeys(("bear", "panda", "dog", "puppy", "mouse", "hamster", "koala"), BEAR_EARS),
    **dict.fromkeys(("bird", "chick", "penguin", "owl", "duck", "chicken"), FEATHERS),
    **dict.fromkeys(("tree", "plant", "flower", "garden", "forest"), SPROUT),
    **dict.fromkeys(("alien", "robot", "bee", "butterfly", "ladybug", "snail"), ANTENNAE),
}
ROUND_EYES: Shapes = (
    *mirrored(Ellipse(0.33, -0.06, 0.115, 0.14, "ink")),
    *(Ellipse(x - 0.035, -0.11, 0.045, 0.05, "white") for x in (-0.33, 0.33)),
)
EYES: tuple[Shapes, ...] = (
    ROUND_EYES,
    (
        *mirrored(Ellipse(0.35, -0.05, 0.15, 0.165, "ink"), Ellipse(0.35, 0.03, 0.1, 0.07, "trim")),
        *(Ellipse(x - 0.045, -0.12, 0.055, 0.06, "white") for x in (-0.35, 0.35)),
    ),
    mirrored(Arc(0.34, -0.01, 0.13, 0.13, 190, 350)),  # closed by a smile
    mirrored(Arc(0.34, -0.1, 0.13, 0.1, 10, 170)),  # asleep
    ROUND_EYES,
)
MOUTHS: tuple[Shapes, ...] = (
    (Arc(0, 0.08, 0.12, 0.11, 20, 160),),
    (*mirrored(Arc(0.085, 0.11, 0.085, 0.08, 5, 175)), Ellipse(0, 0.075, 0.05, 0.035, "blush")),
    (
        Ellipse(0, 0.18, 0.13, 0.14, "ink"),
        Ellipse(0, 0.24, 0.085, 0.07, "blush"),
        Ellipse(0, 0.065, 0.16, 0.06, "coat"),
    ),
)
EXTRAS: tuple[Shapes, ...] = (
    (  # a bow
        *(Polygon("trim", ((0.34, -0.8), (x, -0.98), (x, -0.6))) for x in (0.04, 0.64)),
        Ellipse(0.34, -0.8, 0.085, 0.085, "knot"),
    ),
    flower("trim", -0.5, -0.72, 0.11),
    (  # a heart
        *mirrored(Ellipse(0.066, 0.46, 0.08, 0.08, "trim")),
        Polygon("trim", ((-0.138, 0.495), (-0.04, 0.45), (0.04, 0.45), (0.138, 0.495), (0, 0.65))),
    ),
    (  # a star on a stick
        Polygon("white", ((0.9, 0.42), (1.2, -0.3), (1.25, -0.28), (0.97, 0.44)), 200),
        star("gold", 1.23, -0.36, 0.2),
    ),
    (  # a balloon
        Polygon("white", ((-0.93, 0.4), (-1.14, -0.5), (-1.12, -0.5), (-0.9, 0.4)), 200),
        Ellipse(-1.16, -0.78, 0.24, 0.29, "trim"),
        Ellipse(-1.24, -0.88, 0.06, 0.09, "white", 170),
    ),
)
CLOUD: Shapes = tuple(
    Ellipse(x, y, size, size * 0.85, "cloud")
    for x, y, size in ((-1.5, 0.25, 0.7), (-0.7, -0.2, 0.95), (0.2, -0.5, 1.15), (1.1, -0.1, 0.9), (1.8, 0.3, 0.6))
)
SUN: Shapes = (Ellipse(0, 0, 1, 1, "light"),)
MOON: Shapes = (
    *SUN,
    *(
        Ellipse(x, y, size, size, "crater")
        for x, y, size in ((-0.35, -0.3, 0.24), (0.3, 0.25, 0.3), (0.35, -0.45, 0.13))
    ),
)
GRASS: Shapes = (Polygon("grass", ((-1.4, 0), (-0.9, -2.6), (0, -0.8), (0.5, -3.2), (1.3, 0))),)


class Canvas:
    """An image that shapes are drawn on; the origin is the upper left corner."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._unit = min(image.size) / 100
        self.width, self.height = image.width / self._unit, image.height / self._unit
        self._draw = ImageDraw.Draw(image, "RGBA")

    def draw(self, shapes: Iterable[Shape], colors: Mapping[str, Color], x: float, y: float, size: float) -> None:
        """Draws shapes about a place, size times as large, from back to front."""
        for shape in shapes:
            match shape:
                case Ellipse():
                    middle, half = (x + shape.x * size, y + shape.y * size), (shape.wide * size, shape.high * size)
                    self._ellipse(middle, half, (*colors[shape.color], shape.alpha))
                case Polygon():
                    points = [(x + a * size, y + b * size) for a, b in shape.points]
                    self._draw.polygon(self._scaled(points), (*colors[shape.color], shape.alpha))
                case Arc():
                    for step in range(ARC_STEPS + 1):
                        turn = math.radians(shape.begin + (shape.end - shape.begin) * step / ARC_STEPS)
                        across, down = shape.x + shape.wide * math.cos(turn), shape.y + shape.high * math.sin(turn)
                        self._ellipse((x + across * size, y + down * size), (LINE, LINE), (*INK, 255))

    def glow(self, x: float, y: float, size: float, color: Color) -> None:
        """Draws light that fades from a middle."""
        side = round(2 * size * self._unit)
        fade = Image.radial_gradient("L").point(lambda dark: round(max(0, 180 - dark) / 180 * 190))
        corner = round((x - size) * self._unit), round((y - size) * self._unit)
        self.image.paste(Image.new("RGB", (side, side), color), corner, fade.resize((side, side)))

    def _ellipse(self, middle: Point, half: Point, fill: tuple[int, int, int, int]) -> None:
        (x, y), (wide, high) = middle, half
        self._draw.ellipse(self._scaled([(x - wide, y - high), (x + wide, y + high)]), fill)

    def _scaled(self, points: Iterable[Point]) -> list[Point]:
        return [(x * self._unit, y * self._unit) for x, y in points]


def paint(picture: Picture) -> bytes:
    """Draws and encodes a picture."""
    encoded = io.BytesIO()
    draw(picture).save(encoded, FORMATS[picture.extension], quality=JPEG_QUALITY)
    return encoded.getvalue()


def draw(picture: Picture) -> Image.Image:
    """Draws a picture from back to front."""
    chance = Random(picture.seed)  # noqa: S311  no secret; the same seed must give the same picture
    words = re.findall(r"\w+", picture.caption.lower())
    chosen, ears = chance.choice(SCENES), chance.choice(EARS)
    chosen = next((SCENES_BY_WORD[word] for word in words if word in SCENES_BY_WORD), chosen)
    ears = next((EARS_BY_WORD[word] for word in words if word in EARS_BY_WORD), ears)
    canvas = Canvas(_sky((picture.width * FINER, picture.height * FINER), chosen))
    _draw_air(canvas, chosen, chance)
    _draw_ground(canvas, chosen, chance)
    _draw_animal(canvas, ears, chance)
    image = canvas.image.reduce(FINER)
    _write_caption(image, picture.caption)
    return image


def _sky(size: tuple[int, int], chosen: Scene) -> Image.Image:
    """An image with the sky's gradient, which reaches the last colour at three quarters of the height."""
    top, middle, low = chosen.sky
    column = Image.new("RGB", (1, SKY_STEPS))
    for row in range(SKY_STEPS):
        part = min(1.0, row / SKY_STEPS * 1.35)
        color = mix(top, middle, min(1.0, part * 2))
        column.putpixel((0, row), mix(color, low, max(0.0, part * 2 - 1)))
    return column.resize(size, Image.Resampling.BICUBIC)


def _draw_air(canvas: Canvas, chosen: Scene, chance: Random) -> None:
    """Draws sun or moon, stars or sparkles, and clouds."""
    cloud = mix(WHITE, chosen.sky[1], 0.75 if chosen.night else 0.06)
    crater = mix(chosen.light, chosen.sky[1], 0.2)
    colors = FIXED_COLORS | {"light": chosen.light, "crater": crater, "cloud": cloud}
    x, y = canvas.width * chance.choice((0.2, 0.5, 0.8)), canvas.height * chance.uniform(0.16, 0.24)
    size = chance.uniform(7, 10)
    canvas.glow(x, y, size * 3.4, chosen.light)
    canvas.draw(MOON if chosen.night else SUN, colors, x, y, size)
    for _ in range(chance.randint(26, 34) if chosen.night else chance.randint(9, 14)):
        x, y = canvas.width * chance.random(), canvas.height * chance.uniform(0.03, 0.55)
        tips = chance.choice((4, 4, 5)) if chosen.night else 4
        twinkle = star("light" if chosen.night else "white", tips=tips, alpha=chance.randint(120, 230))
        canvas.draw([twinkle], colors, x, y, chance.uniform(0.6, 2.2))
    for _ in range(chance.randint(2, 4)):
        x, y = canvas.width * chance.uniform(0.05, 0.95), canvas.height * chance.uniform(0.08, 0.42)
        canvas.draw(CLOUD, colors, x, y, chance.uniform(4.5, 8))


def _draw_ground(canvas: Canvas, chosen: Scene, chance: Random) -> None:
    """Draws three rows of hills, the near ones lower and stronger, and flowers and grass on the nearest."""
    width, floor = canvas.width, canvas.height + 1
    for depth, (color, rise) in enumerate(zip(chosen.hills, (0.56, 0.65, 0.75), strict=True)):
        waves, shift = chance.uniform(0.7, 1.5), chance.uniform(0, math.tau)
        swing = chance.uniform(3.0, 6.5) / (depth + 1)
        turns = [
            (width * step / HILL_STEPS, shift + waves * math.tau * step / HILL_STEPS) for step in range(HILL_STEPS + 1)
        ]
        crest = [(x, canvas.height * rise + swing * math.sin(turn)) for x, turn in turns]
        edge = [(x, y + 1.1) for x, y in reversed(crest)]
        hill = Polygon("hill", (*crest, (width, floor), (0, floor)))
        canvas.draw([hill, Polygon("white", (*crest, *edge), 60)], {"hill": color, "white": WHITE}, 0, 0, 1)
    grass = mix(chosen.hills[2], (60, 90, 80), 0.25)
    for _ in range(chance.randint(9, 15)):
        x, y = width * chance.random(), canvas.height * chance.uniform(0.82, 0.97)
        petals = mix(chance.choice(TRIMS), WHITE, 0.25)
        plant, size = chance.choice(((flower("petals"), 1.15), (flower("petals"), 0.9), (GRASS, 1)))
        canvas.draw(plant, {"petals": petals, "grass": grass, "white": WHITE}, x, y, size)


def _draw_animal(canvas: Canvas, ears: Shapes, chance: Random) -> None:
    """Draws ears, then the body over them, then the face and one extra."""
    coat, soft = chance.choice(COATS)
    shade, inner = mix(coat, INK, 0.16), mix(soft, BLUSH, 0.4)
    colors = FIXED_COLORS | {"coat": coat, "soft": soft, "shade": shade, "inner": inner}
    colors |= {"trim": (trim := chance.choice(TRIMS)), "knot": mix(trim, INK, 0.15)}
    size = chance.uniform(19, 23)
    face = [shape for part in (EYES, MOUTHS, EXTRAS) for shape in chance.choice(part)]
    x, y = canvas.width / 2 + chance.uniform(-3, 3), canvas.height * 0.8 - size * 0.62
    canvas.draw((*ears, *BODY, *face), colors, x, y, size)


def _write_caption(image: Image.Image, text: str) -> None:
    """Writes the first words on a pale band at the bottom, as far as Pillow's own font has their letters."""
    found = "".join(letter if ord(letter) in CAPTION_KNOWN else " " for letter in text).split()
    line = " ".join(found[:CAPTION_WORDS])[:CAPTION_LETTERS].strip()
    if not line.strip("."):
        return
    line = line if line == " ".join(found) else f"{line}..."
    size = min(image.size) * CAPTION_SIZE
    font = ImageFont.load_default(size)
    canvas = ImageDraw.Draw(image, "RGBA")
    half, middle, base = canvas.textlength(line, font) / 2, image.width / 2, image.height - size * 1.5
    band = (middle - half - size, base - size * 0.9, middle + half + size, base + size * 0.9)
    canvas.rounded_rectangle(band, size * 0.9, (*WHITE, 150))
    canvas.text((middle, base), line, (*INK, 235), font, anchor="mm")
