"""Decodes a picture with Pillow under our limits, and makes it upright, small and RGB or RGBA.

Only workers import this: Pillow never enters a service's own process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

MAX_PIXELS = 50_000_000  # docs/storage.md#decoding; phones make 48 megapixels
MAX_SIDE = 12_000
MAX_FRAMES = 1_000  # forty seconds of animation at the pace of film
MAX_ALL_PIXELS = 4 * MAX_PIXELS  # of all frames: what a worker decodes within its time
PLUGINS = {"png": PngImagePlugin, "jpg": JpegImagePlugin, "webp": WebPImagePlugin, "gif": GifImagePlugin}
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF"}
Box = tuple[int, int]
Transpose = Image.Transpose
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap the sides

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # for what Pillow finds inside; it raises at twice this


class TooLargeError(Exception):
    """The picture exceeds our limits; the text is shown to the client."""


@contextmanager
def open_picture(path: Path, extension: str, frames: int = 1) -> Iterator[Image.Image]:
    """Open a picture of a known type; only its header is read.

    Raises:
        TooLargeError: the header exceeds the limits.
    """
    with Image.open(path, formats=[FORMATS[extension]]) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise TooLargeError(f"The picture has {width} x {height} pixels, more than we take. Send a smaller one.")
        if frames > MAX_FRAMES or frames * width * height > MAX_ALL_PIXELS:
            raise TooLargeError(f"The picture has {frames} frames, more than we take. Send a shorter one.")
        yield picture


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none."""
    said = picture.getexif().get(ORIENTATION, 1)
    return said if said in UPRIGHT else 1


def upright_size(picture: Image.Image) -> Box:
    """Width and height once the picture is upright."""
    width, height = picture.size
    return (height, width) if orientation_of(picture) in SIDEWAYS else (width, height)


def size_within(picture: Image.Image, box: Box) -> Box:
    """The size, before rotation, with which a picture fits a box; never enlarged."""
    across, down = reversed(box) if orientation_of(picture) in SIDEWAYS else box
    scale = min(1.0, across / picture.width, down / picture.height)
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def small(picture: Image.Image, size: Box) -> Image.Image:
    """The picture resized, then rotated upright, in RGB or RGBA."""
    orientation = orientation_of(picture)
    reduced = _resizable(picture)
    if size != picture.size:
        gap = None if reduced.mode.startswith("I") else 2.0  # the shortcut does not know sixteen bits
        reduced = reduced.resize(size, Image.Resampling.LANCZOS, reducing_gap=gap)
    turned = reduced.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else reduced
    return _plain(turned)


def _resizable(picture: Image.Image) -> Image.Image:
    """The picture in a mode that can be interpolated: palettes and single bits cannot."""
    if picture.mode in ("P", "PA"):
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA") if picture.mode in ("RGB", "L") and "transparency" in picture.info else picture


def _plain(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where there is transparency; Pillow would clip sixteen bits instead of scaling them."""
    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
