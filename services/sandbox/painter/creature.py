"""Paints the creature: a round body, somebody's ears, and a face that is glad to see you."""

from collections.abc import Callable, Collection

from services.sandbox.painter.brush import Brush
from services.sandbox.painter.dice import Dice
from services.sandbox.painter.palette import BLUSH, COATS, INK, TRIMS, WHITE, Color, mix

Part = Callable[["Creature"], None]


class Creature:
    """A body about a place; size is half its width, in units."""

    def __init__(self, brush: Brush, dice: Dice, words: Collection[str]) -> None:
        self.brush = brush
        self.coat, self.soft = dice.pick(COATS)
        self.trim = dice.pick(TRIMS)
        self.size = dice.between(19, 23)
        self.x = brush.width / 2 + dice.between(-3, 3)
        self.y = brush.height * 0.8 - self.size * 0.62
        ears, *self.face = [dice.pick(choices) for choices in (EARS, EYES, MOUTHS, EXTRAS)]
        self.ears = next((NAMED[word] for word in words if word in NAMED), ears)

    def paint(self) -> None:
        """Ears first, then the body over them, then the face."""
        eyes, mouth, extra = self.face
        self.brush.blob(self.x, self.y + self.size * 0.9, self.size * 1.02, self.size * 0.2, INK, alpha=46)
        self.ears(self)
        self._body()
        eyes(self)
        mouth(self)
        for side in (-1, 1):
            self.blob(side * 0.56, 0.16, 0.15, 0.09, BLUSH, alpha=150)
        extra(self)

    def _body(self) -> None:
        for side in (-1, 1):
            self.blob(side * 0.42, 0.86, 0.26, 0.15, self.shade)
        self.blob(0, 0.03, 1.0, 0.92, self.shade)
        self.blob(0, 0, 1.0, 0.9, self.coat)
        self.blob(0, 0.5, 0.56, 0.36, self.soft)
        self.blob(-0.42, -0.52, 0.2, 0.1, WHITE, alpha=120)
        for side in (-1, 1):
            self.blob(side * 0.9, 0.36, 0.17, 0.22, self.shade)
            self.blob(side * 0.88, 0.33, 0.16, 0.21, self.coat)

    @property
    def shade(self) -> Color:
        """The coat where less light falls."""
        return mix(self.coat, INK, 0.16)

    def blob(self, x: float, y: float, wide: float, high: float, color: Color, *, alpha: int = 255) -> None:
        """A blob in parts of the creature's size, from its middle."""
        size = self.size
        self.brush.blob(self.x + x * size, self.y + y * size, wide * size, high * size, color, alpha=alpha)

    def shape(self, points: list[tuple[float, float]], color: Color) -> None:
        """A polygon in parts of the creature's size, from its middle."""
        self.brush.shape([(self.x + x * self.size, self.y + y * self.size) for x, y in points], color)

    def arc(self, x: float, y: float, wide: float, high: float, span: tuple[float, float]) -> None:
        """A line of ink in parts of the creature's size, from its middle."""
        size = self.size
        self.brush.arc(self.x + x * size, self.y + y * size, wide * size, high * size, span=span, color=INK)


def bear_ears(c: Creature) -> None:
    """Two round ones."""
    for side in (-1, 1):
        c.blob(side * 0.64, -0.7, 0.3, 0.3, c.shade)
        c.blob(side * 0.64, -0.67, 0.17, 0.17, mix(c.soft, BLUSH, 0.35))


def cat_ears(c: Creature) -> None:
    """Two pointed ones."""
    for side in (-1, 1):
        c.shape([(side * 0.9, -0.28), (side * 0.82, -1.12), (side * 0.2, -0.78)], c.shade)
        c.shape([(side * 0.78, -0.5), (side * 0.74, -0.94), (side * 0.4, -0.72)], mix(c.soft, BLUSH, 0.4))


def bunny_ears(c: Creature) -> None:
    """Two long ones, one a little lower."""
    for side, height in ((-1, -1.2), (1, -1.12)):
        c.blob(side * 0.4, height, 0.21, 0.55, c.shade)
        c.blob(side * 0.4, height, 0.11, 0.4, mix(c.soft, BLUSH, 0.4))


def sprout(c: Creature) -> None:
    """Two leaves on a stalk."""
    green = (126, 200, 140)
    c.shape([(-0.035, -0.85), (-0.02, -1.2), (0.03, -1.2), (0.05, -0.85)], green)
    c.blob(-0.19, -1.2, 0.2, 0.11, green)
    c.blob(0.2, -1.25, 0.2, 0.11, mix(green, WHITE, 0.2))


def tuft(c: Creature) -> None:
    """Three feathers."""
    for x, y in ((-0.16, -0.95), (0.16, -0.95), (0.0, -1.02)):
        c.blob(x, y, 0.1, 0.22, c.shade)


def antennae(c: Creature) -> None:
    """Two stalks with lights at their ends."""
    for side in (-1, 1):
        c.shape([(side * 0.22, -0.8), (side * 0.46, -1.2), (side * 0.5, -1.17), (side * 0.3, -0.8)], c.shade)
        c.blob(side * 0.49, -1.24, 0.12, 0.12, c.trim)
        c.blob(side * 0.49 - 0.03, -1.28, 0.04, 0.04, WHITE)


def round_eyes(c: Creature) -> None:
    """Big and shining."""
    for side in (-1, 1):
        c.blob(side * 0.33, -0.06, 0.115, 0.14, INK)
        c.blob(side * 0.33 - 0.035, -0.11, 0.045, 0.05, WHITE)
        c.blob(side * 0.33 + 0.04, -0.01, 0.02, 0.025, WHITE)


def wide_eyes(c: Creature) -> None:
    """Bigger still, with colour at the bottom."""
    for side in (-1, 1):
        c.blob(side * 0.35, -0.05, 0.15, 0.165, INK)
        c.blob(side * 0.35, 0.03, 0.1, 0.07, mix(c.trim, WHITE, 0.25))
        c.blob(side * 0.35 - 0.045, -0.12, 0.055, 0.06, WHITE)


def glad_eyes(c: Creature) -> None:
    """Closed by a smile."""
    for side in (-1, 1):
        c.arc(side * 0.34, -0.01, 0.13, 0.13, (190, 350))


def sleepy_eyes(c: Creature) -> None:
    """Closed in peace."""
    for side in (-1, 1):
        c.arc(side * 0.34, -0.1, 0.13, 0.1, (10, 170))


def smile(c: Creature) -> None:
    """A small curve."""
    c.arc(0, 0.08, 0.12, 0.11, (20, 160))


def cat_mouth(c: Creature) -> None:
    """Two small curves that meet."""
    for side in (-1, 1):
        c.arc(side * 0.085, 0.11, 0.085, 0.08, (5, 175))
    c.blob(0, 0.075, 0.05, 0.035, BLUSH)


def laugh(c: Creature) -> None:
    """Open, with a tongue."""
    c.blob(0, 0.18, 0.13, 0.14, INK)
    c.blob(0, 0.24, 0.085, 0.07, BLUSH)
    c.blob(0, 0.065, 0.16, 0.06, c.coat)


def bow(c: Creature) -> None:
    """A bow on the head."""
    for side in (-1, 1):
        c.shape([(0.34, -0.8), (0.34 + side * 0.3, -0.98), (0.34 + side * 0.3, -0.6)], c.trim)
    c.blob(0.34, -0.8, 0.085, 0.085, mix(c.trim, INK, 0.15))


def blossom(c: Creature) -> None:
    """A flower behind the ear."""
    c.brush.flower(c.x - 0.5 * c.size, c.y - 0.72 * c.size, 0.11 * c.size, c.trim)


def badge(c: Creature) -> None:
    """A badge of a heart on the belly."""
    c.brush.heart(c.x, c.y + 0.5 * c.size, 0.15 * c.size, c.trim)


def wand(c: Creature) -> None:
    """A star on a stick."""
    c.shape([(0.9, 0.42), (1.2, -0.3), (1.25, -0.28), (0.97, 0.44)], mix(c.trim, WHITE, 0.5))
    c.brush.star(c.x + 1.23 * c.size, c.y - 0.36 * c.size, 0.2 * c.size, (255, 214, 102))


def balloon(c: Creature) -> None:
    """A balloon on a string."""
    c.shape([(-0.93, 0.4), (-1.14, -0.5), (-1.12, -0.5), (-0.9, 0.4)], mix(c.trim, WHITE, 0.6))
    c.blob(-1.16, -0.78, 0.24, 0.29, c.trim)
    c.blob(-1.24, -0.88, 0.06, 0.09, WHITE, alpha=170)


EARS: tuple[Part, ...] = (bear_ears, cat_ears, bunny_ears, sprout, tuft, antennae)
# A prompt that names an animal gets its ears.
NAMED: dict[str, Part] = {
    **dict.fromkeys(("cat", "cats", "kitten", "kitty", "fox", "tiger", "lion"), cat_ears),
    **dict.fromkeys(("bunny", "rabbit", "hare", "bunnies", "rabbits"), bunny_ears),
    **dict.fromkeys(("bear", "panda", "dog", "puppy", "mouse", "hamster", "koala"), bear_ears),
    **dict.fromkeys(("bird", "chick", "penguin", "owl", "duck", "chicken"), tuft),
    **dict.fromkeys(("tree", "plant", "flower", "garden", "forest"), sprout),
    **dict.fromkeys(("alien", "robot", "bee", "butterfly", "ladybug", "snail"), antennae),
}
EYES: tuple[Part, ...] = (round_eyes, wide_eyes, glad_eyes, sleepy_eyes, round_eyes)
MOUTHS: tuple[Part, ...] = (smile, cat_mouth, laugh)
EXTRAS: tuple[Part, ...] = (bow, blossom, badge, wand, balloon)
