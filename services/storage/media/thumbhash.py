"""Makes a ThumbHash: some twenty-five bytes from which a page paints a blurred placeholder while the picture loads.

Source: evanw.github.io/thumbhash, version 1. Cosine transforms are taken along rows first, then along columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, floor, pi

Pixels = Sequence[tuple[int, int, int, int]]
Channel = list[float]


@dataclass(frozen=True)
class Waves:
    """One channel as its mean, its cosine coefficients scaled to 0 to 1, and the largest of them before scaling."""

    mean: float
    waves: Channel
    scale: float


def thumb_hash(width: int, height: int, pixels: Pixels) -> bytes:
    """Hash upright pixels of red, green, blue and alpha, at most 100 on a side."""
    light, yellow, red, alpha, has_alpha = _channels(pixels)
    most = 5 if has_alpha else 7  # how many waves the light gets on the long side
    across, down = (max(1, rounded(most * side / max(width, height))) for side in (width, height))
    found = [_waves(light, width, height, max(3, across), max(3, down))]
    found += [_waves(channel, width, height, 3, 3) for channel in (yellow, red)]
    see_through = _waves(alpha, width, height, 5, 5) if has_alpha else None
    head = _head(found, has_alpha=has_alpha, wide=width > height, short=down if width > height else across)
    if see_through:
        head += bytes([rounded(15 * see_through.mean) | rounded(15 * see_through.scale) << 4])
    nibbles = [rounded(15 * wave) for each in [*found, *([see_through] if see_through else [])] for wave in each.waves]
    nibbles += [0] * (len(nibbles) % 2)
    return head + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _head(found: list[Waves], *, has_alpha: bool, wide: bool, short: int) -> bytes:
    light, yellow, red = found
    first = rounded(63 * light.mean) | rounded(31.5 + 31.5 * yellow.mean) << 6 | rounded(31.5 + 31.5 * red.mean) << 12
    first |= rounded(31 * light.scale) << 18 | has_alpha << 23
    second = short | rounded(63 * yellow.scale) << 3 | rounded(63 * red.scale) << 9 | wide << 15
    return first.to_bytes(3, "little") + second.to_bytes(2, "little")


def _channels(pixels: Pixels) -> tuple[Channel, Channel, Channel, Channel, bool]:
    """Light, yellow against blue, red against green, and alpha; what is see-through shows the mean colour."""
    opaque = sum(pixel[3] for pixel in pixels) / 255
    mean = [sum(pixel[i] * pixel[3] for pixel in pixels) / 65025 / (opaque or 1) for i in range(3)]
    light, yellow, red, alphas = [], [], [], []
    for *colours, a in pixels:
        alpha = a / 255
        r, g, b = (mean[i] * (1 - alpha) + alpha / 255 * colours[i] for i in range(3))
        light.append((r + g + b) / 3)
        yellow.append((r + g) / 2 - b)
        red.append(r - g)
        alphas.append(alpha)
    return light, yellow, red, alphas, opaque < len(pixels)


def _waves(channel: Channel, width: int, height: int, across: int, down: int) -> Waves:
    """The mean, and the waves of the triangle below the diagonal from (across, 0) to (0, down)."""
    rows = [channel[start : start + width] for start in range(0, len(channel), width)]
    bases = [[cos(pi / width * x * (i + 0.5)) for i in range(width)] for x in range(across)]
    by_row = [[sum(a * b for a, b in zip(row, base, strict=True)) for row in rows] for base in bases]
    mean, waves = 0.0, []
    for y in range(down):
        base = [cos(pi / height * y * (i + 0.5)) for i in range(height)]
        for x in range(across):
            if x * down >= across * (down - y):
                break
            wave = sum(a * b for a, b in zip(by_row[x], base, strict=True)) / (width * height)
            if x or y:
                waves.append(wave)
            else:
                mean = wave
    scale = max(map(abs, waves), default=0.0)
    return Waves(mean, [0.5 + 0.5 / scale * wave for wave in waves] if scale else waves, scale)


def rounded(number: float) -> int:
    """Round halves up, as JavaScript does, in which the method is defined."""
    return floor(number + 0.5)
