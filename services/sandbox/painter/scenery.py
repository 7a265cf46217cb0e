"""Paints what is behind the creature: sky, light, clouds, hills and flowers."""

import math

from PIL import Image

from services.sandbox.painter.brush import Brush
from services.sandbox.painter.dice import Dice
from services.sandbox.painter.palette import TRIMS, WHITE, Scene, mix

SKY_STEPS = 256  # rows of the gradient before it is stretched
HILL_STEPS = 80
HALF = 0.5


def sky(size: tuple[int, int], scene: Scene) -> Image.Image:
    """A canvas with the sky's gradient, over its upper three quarters."""
    top, middle, low = scene.sky
    column = Image.new("RGB", (1, SKY_STEPS))
    for row in range(SKY_STEPS):
        part = min(1.0, row / SKY_STEPS * 1.35)
        color = mix(top, middle, part * 2) if part < HALF else mix(middle, low, part * 2 - 1)
        column.putpixel((0, row), color)
    return column.resize(size, Image.Resampling.BICUBIC)


def light(brush: Brush, scene: Scene, dice: Dice) -> None:
    """The sun, or a moon with its craters."""
    x, y = brush.width * dice.pick((0.2, 0.5, 0.8)), brush.height * dice.between(0.16, 0.24)
    size = dice.between(7, 10)
    brush.glow(x, y, size * 3.4, scene.light, 0.75)
    brush.blob(x, y, size, size, scene.light)
    if scene.night:
        for away, rise, part in ((-0.35, -0.3, 0.24), (0.3, 0.25, 0.3), (0.35, -0.45, 0.13)):
            brush.blob(x + away * size, y + rise * size, part * size, part * size, mix(scene.light, scene.sky[1], 0.2))


def air(brush: Brush, scene: Scene, dice: Dice) -> None:
    """Stars by night; hearts, sparkles or bubbles by day."""
    kind = "stars" if scene.night else dice.pick(("hearts", "sparkles", "bubbles", "sparkles"))
    for _ in range(dice.count(26, 34) if scene.night else dice.count(9, 14)):
        x, y = brush.width * dice.unit(), brush.height * dice.between(0.03, 0.55)
        size, alpha = dice.between(0.5, 1.7), dice.count(120, 230)
        match kind:
            case "stars":
                brush.star(x, y, size, scene.light, alpha=alpha, points=dice.pick((4, 4, 5)))
            case "hearts":
                brush.heart(x, y, size * 1.3, mix(dice.pick(TRIMS[:2]), WHITE, 0.35), alpha=alpha)
            case "sparkles":
                brush.star(x, y, size * 1.5, WHITE, alpha=alpha, points=4)
            case _:
                brush.blob(x, y, size * 1.4, size * 1.4, WHITE, alpha=alpha // 2)
                brush.blob(x - size * 0.4, y - size * 0.5, size * 0.4, size * 0.4, WHITE, alpha=alpha)


def clouds(brush: Brush, scene: Scene, dice: Dice) -> None:
    """Some heaps of soft balls with flat feet."""
    tone = mix(WHITE, scene.sky[1], 0.75 if scene.night else 0.06)
    for _ in range(dice.count(2, 4)):
        x, y = brush.width * dice.between(0.05, 0.95), brush.height * dice.between(0.08, 0.42)
        size = dice.between(4.5, 8)
        for place, rise, scale in (
            (-1.5, 0.25, 0.7),
            (-0.7, -0.2, 0.95),
            (0.2, -0.5, 1.15),
            (1.1, -0.1, 0.9),
            (1.8, 0.3, 0.6),
        ):
            brush.blob(x + place * size, y + rise * size, size * scale, size * scale * 0.85, tone)


def hills(brush: Brush, scene: Scene, dice: Dice) -> None:
    """Three rows of hills, the near ones lower and stronger."""
    for depth, (color, rise) in enumerate(zip(scene.hills, (0.56, 0.65, 0.75), strict=True)):
        waves, shift = dice.between(0.7, 1.5), dice.between(0, math.tau)
        swing = dice.between(3.0, 6.5) / (depth + 1)
        crest = [
            (x, brush.height * rise + swing * math.sin(shift + waves * math.tau * x / brush.width))
            for x in (brush.width * step / HILL_STEPS for step in range(HILL_STEPS + 1))
        ]
        floor = brush.height + 1
        brush.shape([*crest, (brush.width, floor), (0, floor)], color)
        brush.shape([*crest, *((x, y + 1.1) for x, y in reversed(crest))], WHITE, alpha=60)


def meadow(brush: Brush, scene: Scene, dice: Dice) -> None:
    """Flowers and tufts on the nearest hill."""
    for _ in range(dice.count(9, 15)):
        x, y = brush.width * dice.unit(), brush.height * dice.between(0.82, 0.97)
        color = mix(dice.pick(TRIMS), WHITE, 0.25)
        if dice.pick((True, True, False)):
            brush.flower(x, y, dice.between(0.8, 1.5), color)
        else:
            tuft = mix(scene.hills[2], (60, 90, 80), 0.25)
            brush.shape([(x - 1.4, y), (x - 0.9, y - 2.6), (x, y - 0.8), (x + 0.5, y - 3.2), (x + 1.3, y)], tuft)
