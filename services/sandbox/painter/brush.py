"""Strokes in the picture's own unit, a hundredth of its short side, so that every size looks alike."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from services.sandbox.painter.palette import WHITE, Color

Point = tuple[float, float]


class Brush:
    """Draws on one canvas. Places and sizes are units; the origin is the upper left corner."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._unit = min(image.size) / 100
        self.width, self.height = image.width / self._unit, image.height / self._unit
        self._draw = ImageDraw.Draw(image, "RGBA")

    def blob(self, x: float, y: float, wide: float, high: float, color: Color, *, alpha: int = 255) -> None:
        """An ellipse about its middle; wide and high are half its size."""
        box = self._scaled([(x - wide, y - high), (x + wide, y + high)])
        self._draw.ellipse(box, (*color, alpha))

    def shape(self, points: Sequence[Point], color: Color, *, alpha: int = 255) -> None:
        """A filled polygon."""
        self._draw.polygon(self._scaled(points), (*color, alpha))

    def arc(self, x: float, y: float, wide: float, high: float, *, span: Point, color: Color) -> None:
        """A thick piece of an ellipse with round ends; angles in degrees, clockwise from the right."""
        for step in range(ARC_STEPS + 1):
            angle = math.radians(span[0] + (span[1] - span[0]) * step / ARC_STEPS)
            self.blob(x + wide * math.cos(angle), y + high * math.sin(angle), LINE, LINE, color)

    def star(self, x: float, y: float, size: float, color: Color, *, alpha: int = 255, points: int = 5) -> None:
        """A star with its tip up; four points make a sparkle."""
        inner = size * (0.5 if points > SPARKLE_POINTS else 0.28)
        corners = [
            (x + radius * math.sin(turn), y - radius * math.cos(turn))
            for corner in range(2 * points)
            for turn, radius in [(math.pi * corner / points, inner if corner % 2 else size)]
        ]
        self.shape(corners, color, alpha=alpha)

    def heart(self, x: float, y: float, size: float, color: Color, *, alpha: int = 255) -> None:
        """A heart about its middle."""
        turns = [math.tau * step / HEART_STEPS for step in range(HEART_STEPS)]
        points = [
            (
                x + size / 16 * 16 * math.sin(t) ** 3,
                y - size / 16 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
            )
            for t in turns
        ]
        self.shape(points, color, alpha=alpha)

    def glow(self, x: float, y: float, size: float, color: Color, strength: float) -> None:
        """Light that fades from a middle."""
        side = round(2 * size * self._unit)
        fade = Image.radial_gradient("L").point(lambda dark: round(max(0, 180 - dark) / 180 * 255 * strength))
        corner = round((x - size) * self._unit), round((y - size) * self._unit)
        self.image.paste(Image.new("RGB", (side, side), color), corner, fade.resize((side, side)))

    def flower(self, x: float, y: float, size: float, color: Color) -> None:
        """Five petals and a heart of white."""
        for petal in range(5):
            turn = math.tau * petal / 5
            self.blob(x + size * math.sin(turn), y - size * math.cos(turn), size * 0.7, size * 0.7, color)
        self.blob(x, y, size * 0.6, size * 0.6, WHITE)

    def _scaled(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._unit, y * self._unit) for x, y in points]


ARC_STEPS = 48  # dots so close that they make a line
HEART_STEPS = 60  # corners so many that none is seen
SPARKLE_POINTS = 4
LINE = 0.55  # half a line's width
