"""Smaller pictures are upright, of the right size and colours, and still say who or what made them."""

import warnings
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from services.storage.media import decode
from services.storage.media.metadata_blocks import GPS_POINTER
from tests.storage.media.builders import (
    EXIF_HEAD,
    PLACES,
    XMP,
    animated,
    gradient,
    png,
    saved,
    tiff,
    with_chunk,
    with_segment,
)
from tests.storage.media.conftest import WriteFile
from tests.storage.media.corpus import MODES, exif_carriers, xmp_carriers

NEAR = 24  # how far a colour may drift through two lossy encoders
TARGETS = ("png", "jpg", "webp")
SOFTWARE, ORIENTATION = 0x0131, 0x0112


def derived(path: Path, extension: str, target: str = "png", box: tuple[int, int] = (0, 0)) -> Image.Image:
    """What a worker makes of a file, decoded."""
    head, content = decode.derive(str(path), extension, box, target, 85)
    picture = Image.open(BytesIO(content))
    picture.load()
    assert (head["width"], head["height"]) == picture.size
    return picture


def near(one: Image.Image, other: Image.Image) -> bool:
    """Whether the corners have about the same colour."""
    corners = [(0, 0), (one.width - 1, 0), (0, one.height - 1), (one.width - 1, one.height - 1)]
    pairs = [(one.convert("RGB").getpixel(at), other.convert("RGB").getpixel(at)) for at in corners]
    return all(abs(a - b) <= NEAR for first, second in pairs for a, b in zip(first, second, strict=True))  # type: ignore[arg-type] # RGB


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_a_derivative_is_upright_and_says_nothing_of_turning(
    write_file: WriteFile, extension: str, orientation: int
) -> None:
    """However the camera was held, the picture people see is the same."""
    seen = gradient(60, 40)
    stored = {
        1: seen,
        2: seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: seen.transpose(Image.Transpose.ROTATE_180),
        4: seen.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: seen.transpose(Image.Transpose.TRANSPOSE),
        6: seen.transpose(Image.Transpose.ROTATE_90),
        7: seen.transpose(Image.Transpose.TRANSVERSE),
        8: seen.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    made = derived(write_file(saved(stored, extension, exif=exif, quality=95)), extension)

    assert made.size == (60, 40)
    assert near(made, seen)
    assert ORIENTATION not in made.getexif()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("extension", "mode"), [(each, mode) for each, modes in MODES.items() for mode in modes])
def test_every_mode_keeps_its_colours(write_file: WriteFile, extension: str, mode: str, target: str) -> None:
    picture = gradient(64, 48, mode)
    made = derived(write_file(saved(picture, extension)), extension, target, (32, 0))

    assert made.size == (32, 24)
    if mode in {"RGB", "L", "P"}:
        assert near(made.resize((64, 48)), picture)
    if mode == "I;16":
        left, right = (made.convert("L").getpixel((x, 5)) for x in (0, 31))
        assert abs(int(left) - int(right)) > 150  # type: ignore[arg-type] # grey
    assert ("A" in made.getbands()) == (mode in {"RGBA", "LA"} and target != "jpg")


def test_what_was_see_through_is_white_where_a_format_knows_no_alpha(write_file: WriteFile) -> None:
    made = derived(write_file(saved(Image.new("RGBA", (9, 9), (200, 0, 0, 0)), "png")), "png", "jpg")

    assert made.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("box", "size"), [((100, 0), (100, 50)), ((0, 10), (20, 10)), ((9, 9), (9, 4)), ((900, 900), (200, 100))]
)
def test_a_derivative_fits_its_box_and_is_never_enlarged(
    write_file: WriteFile, box: tuple[int, int], size: tuple[int, int]
) -> None:
    for extension in MODES:
        assert derived(write_file(saved(gradient(200, 100), extension)), extension, "webp", box).size == size


def test_a_line_stays_a_line(write_file: WriteFile) -> None:
    assert derived(write_file(png(1, 12_000)), "png", "webp", (64, 64)).size == (1, 64)


@pytest.mark.parametrize("extension", ["png", "webp", "gif"])
def test_of_an_animation_the_first_frame_is_taken(write_file: WriteFile, extension: str) -> None:
    made = derived(write_file(animated(extension, 5)), extension)

    red, green, _ = made.convert("RGB").getpixel((3, 3))  # type: ignore[misc] # RGB
    assert (red < NEAR, green > 255 - NEAR) == (True, True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_provenance_is_kept_and_gps_data_is_not(write_file: WriteFile, extension: str, target: str) -> None:
    made = derived(write_file(xmp_carriers(XMP)[extension]), extension, target)
    text = made.info["xmp"]
    assert b"trainedAlgorithmicMedia" in (text if isinstance(text, bytes) else text.encode())
    assert not any(place in text for place in PLACES)

    exif = derived(write_file(exif_carriers(tiff())[extension]), extension, target).getexif()
    assert exif[SOFTWARE] == "kawaii camera"
    assert GPS_POINTER not in exif


def test_the_label_of_a_generated_png_comes_along_as_xmp(write_file: WriteFile) -> None:
    """GB 45438 writes it into a text chunk, which WebP does not have."""
    label = '{"Label":"1","ContentProducer":"kie & <co>"}'
    whole = saved(gradient(30, 20), "png")
    made = derived(write_file(with_chunk(whole, b"tEXt", b"AIGC\0" + label.encode())), "png", "webp")

    assert b"http://www.tc260.org.cn/ns/AIGC/1.0/" in made.info["xmp"]
    assert b"&quot;Label&quot;" in made.info["xmp"] or b'"Label"' in made.info["xmp"]


def test_a_colour_profile_comes_along_unless_it_is_of_other_colours(write_file: WriteFile) -> None:
    def profile(space: bytes) -> bytes:
        return bytes(16) + space + bytes(108)

    wide = derived(write_file(saved(gradient(30, 20), "png", icc_profile=profile(b"RGB "))), "png", "webp")
    print_ = derived(write_file(saved(gradient(30, 20, "CMYK"), "jpg", icc_profile=profile(b"CMYK"))), "jpg", "webp")

    assert wide.info["icc_profile"] == profile(b"RGB ")
    assert "icc_profile" not in print_.info


def test_a_broken_exif_block_spoils_nothing(write_file: WriteFile) -> None:
    warnings.simplefilter("ignore")  # as a worker does
    for block in (b"II*\0", b"II*\0\xff\xff\xff\x7f", tiff()[:20], b"\xff" * 90):
        content = with_segment(saved(gradient(30, 20), "jpg"), 0xE1, EXIF_HEAD + block)
        assert derived(write_file(content), "jpg", "webp").size == (30, 20)
