"""Colours that go together: pastel skies with their hills, and coats for the creatures."""

from dataclasses import dataclass

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
INK: Color = (74, 58, 82)
BLUSH: Color = (255, 140, 160)


@dataclass(frozen=True)
class Scene:
    """A sky from top to horizon, hills from far to near, and the light in the sky. night skies have stars."""

    sky: tuple[Color, Color, Color]
    hills: tuple[Color, Color, Color]
    light: Color
    night: bool = False


def rgb(text: str) -> Color:
    """Read six hex digits."""
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def scene(sky: str, hills: str, light: str, *, night: bool = False) -> Scene:
    """Read a scene as people write colours."""
    top, middle, low = map(rgb, sky.split())
    far, mid, near = map(rgb, hills.split())
    return Scene((top, middle, low), (far, mid, near), rgb(light), night)


SCENES = (
    scene("a9d6ff cfe9ff fff3e2", "b9e3d0 9fd8b4 86c99a", "fff3b8"),  # a spring morning
    scene("ffc3dc ffd9e6 fff1dd", "f7c6d9 e9aecb cf9fd0", "fff6d2"),  # cherry blossom
    scene("c9c2ff e3d4ff ffe3ee", "cfd2f7 b6c3ee 9db4e0", "fff0f8"),  # lavender
    scene("ffb8a3 ffd3b0 fff0c9", "f5c59f e6ad8f c995a0", "fff7cf"),  # peach evening
    scene("a8ece2 c9f5ec f6ffe9", "bfe9c4 a4deb3 83cdb0", "fffbd0"),  # mint
    scene("8ec9f5 b5e3f7 e9fbff", "a6dcec 8accdf f4dfb6", "fffbe0"),  # the seaside
    scene("4a4a8f 7e6fb8 d9a5cf", "7468ad 5f5a9c 4c4c86", "fff4cf", night=True),  # a violet night
    scene("2f4a7d 5479ae a8c8dc", "5b86a5 47708f 38597a", "fdf6dc", night=True),  # a blue night
    scene("fff0b8 ffe6c2 ffeede", "d9e8a4 bfdc92 a2cb88", "fffdf0"),  # a lemon noon
)
# A prompt that names a time or a place gets its sky.
NAMED: dict[str, Scene] = {
    **dict.fromkeys(("sakura", "blossom", "blossoms", "cherry", "love", "pink"), SCENES[1]),
    **dict.fromkeys(("sunset", "evening", "autumn", "desert", "orange"), SCENES[3]),
    **dict.fromkeys(("sea", "beach", "ocean", "island", "summer"), SCENES[5]),
    **dict.fromkeys(("night", "moon", "moonlit", "stars", "starry", "space", "dream"), SCENES[6]),
    **dict.fromkeys(("winter", "snow", "midnight", "neon", "galaxy"), SCENES[7]),
}

# body, and a lighter tone for belly and inner ears
COATS = tuple(
    (rgb(body), rgb(light))
    for body, light in (
        ("fff7ef", "ffe3e3"),
        ("ffd1dc", "fff0f3"),
        ("ffe3a8", "fff6dc"),
        ("c8e6ff", "effaff"),
        ("d9cbff", "f3edff"),
        ("c6f0d2", "effcf2"),
        ("f2cfae", "ffefdd"),
        ("c9c4d6", "f0eef6"),
        ("ffbfa8", "ffe9df"),
    )
)
TRIMS = tuple(map(rgb, ("ff8fab", "ff9f6e", "7cc6fe", "a78bfa", "ffcf56", "5fcf9a")))


def mix(one: Color, other: Color, part: float) -> Color:
    """A colour between two; part 0 is the first."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
