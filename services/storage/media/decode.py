"""Decodes a picture with Pillow under our limits: inspects it, or derives a smaller one, upright and in RGB or RGBA.

Only workers import this module: Pillow never enters a service's own process.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from services.storage.media import format_parser, gps_removal
from services.storage.media.provenance import provenance_of
from services.storage.media.thumbhash import thumb_hash
from services.storage.media.worker_protocol import Message

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
WHITE = (255, 255, 255)
HASHED = (32, 32)  # a ThumbHash holds no more detail

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # for what Pillow finds inside; it raises at twice this


class TooLargeError(Exception):
    """The picture exceeds our limits; the text is shown to the client."""


def inspect(path: str, extension: str, places: bool) -> Message:  # noqa: FBT001 - from a job in JSON
    """Decode all frames; returns the picture's facts and, with `places`, the edits that remove GPS data."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        parts = format_parser.parse(data, extension)
        edits = gps_removal.edits(data, parts, extension) if places else []
        rest = len(data) - parts.end
    with _open_picture(Path(path), extension, parts.frames) as picture:
        facts = _described(picture)
        for number in range(1, min(parts.frames, getattr(picture, "n_frames", 1))):
            picture.seek(number)
            picture.load()
    spots = [(start, stop, len(new)) for start, stop, new in edits]
    return facts | {"frames": parts.frames, "rest": rest, "edits": spots}, b"".join(new for _, _, new in edits)


def _described(picture: Image.Image) -> dict[str, Any]:
    """Upright size and ThumbHash of the first frame."""
    picture.load()
    width, height = _upright_size(picture)
    tiny = _small(picture, _size_within(picture, HASHED)).convert("RGBA")
    pixels = list(zip(*[iter(tiny.tobytes())] * 4, strict=True))
    return {
        "width": width,
        "height": height,
        "thumb_hash": base64.b64encode(thumb_hash(tiny.width, tiny.height, pixels)).decode(),
    }


def derive(path: str, extension: str, box: tuple[int, int], target: str, quality: int) -> Message:
    """The first frame, scaled down into a box (0: no bound), in another format; its width, height and bytes."""
    box = box[0] or MAX_SIDE, box[1] or MAX_SIDE
    with _open_picture(Path(path), extension) as picture:
        size = _size_within(picture, box)
        picture.draft("RGB", size)  # a JPEG decodes at a fraction of its size
        picture.load()
        provenance = provenance_of(picture)
        made = _small(picture, size)
    written = BytesIO()
    options = provenance.options(target) | ({} if target == "png" else {"quality": quality})
    (_on_white(made) if target == "jpg" else made).save(written, FORMATS[target], **options)
    return {"width": made.width, "height": made.height}, written.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    """A picture on a white background, for a format without transparency."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, WHITE)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


@contextmanager
def _open_picture(path: Path, extension: str, frames: int = 1) -> Iterator[Image.Image]:
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


def _orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none."""
    said = picture.getexif().get(ORIENTATION, 1)
    return said if said in UPRIGHT else 1


def _upright_size(picture: Image.Image) -> Box:
    """Width and height once the picture is upright."""
    width, height = picture.size
    return (height, width) if _orientation_of(picture) in SIDEWAYS else (width, height)


def _size_within(picture: Image.Image, box: Box) -> Box:
    """The size, before rotation, with which a picture fits a box; never enlarged."""
    across, down = reversed(box) if _orientation_of(picture) in SIDEWAYS else box
    scale = min(1.0, across / picture.width, down / picture.height)
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _small(picture: Image.Image, size: Box) -> Image.Image:
    """The picture resized, then rotated upright, in RGB or RGBA."""
    orientation = _orientation_of(picture)
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
