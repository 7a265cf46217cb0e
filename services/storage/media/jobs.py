"""The jobs of a worker: inspecting a picture, and deriving a smaller one."""

import base64
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from PIL import Image

from services.storage.media import format_parser, gps_removal
from services.storage.media.decode import FORMATS, MAX_SIDE, open_picture, size_within, small, upright_size
from services.storage.media.provenance import provenance_of
from services.storage.media.thumbhash import thumb_hash
from services.storage.media.worker_protocol import Message

WHITE = (255, 255, 255)
HASHED = (32, 32)  # a ThumbHash holds no more detail


def inspect(path: str, extension: str, places: bool) -> Message:  # noqa: FBT001 - from a job in JSON
    """Decode all frames; returns facts and, if asked, the edits that remove GPS data."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        parts = format_parser.parse(data, extension)
        edits = gps_removal.edits(data, parts, extension) if places else []
        rest = len(data) - parts.end
    with open_picture(Path(path), extension, parts.frames) as picture:
        facts = described(picture)
        for number in range(1, min(parts.frames, getattr(picture, "n_frames", 1))):
            picture.seek(number)
            picture.load()
    spots = [(start, stop, len(new)) for start, stop, new in edits]
    return facts | {"frames": parts.frames, "rest": rest, "edits": spots}, b"".join(new for _, _, new in edits)


def described(picture: Image.Image) -> dict[str, Any]:
    """Upright size and ThumbHash of the first frame."""
    picture.load()
    width, height = upright_size(picture)
    tiny = small(picture, size_within(picture, HASHED)).convert("RGBA")
    pixels = list(zip(*[iter(tiny.tobytes())] * 4, strict=True))
    return {
        "width": width,
        "height": height,
        "thumb_hash": base64.b64encode(thumb_hash(tiny.width, tiny.height, pixels)).decode(),
    }


def derive(path: str, extension: str, box: tuple[int, int], target: str, quality: int) -> Message:
    """The first frame, scaled down into a box (0: no bound), in another format."""
    box = box[0] or MAX_SIDE, box[1] or MAX_SIDE
    with open_picture(Path(path), extension) as picture:
        size = size_within(picture, box)
        picture.draft("RGB", size)  # a JPEG decodes at a fraction of its size
        picture.load()
        provenance = provenance_of(picture)
        made = small(picture, size)
    written = BytesIO()
    options = provenance.options(target) | ({} if target == "png" else {"quality": quality})
    (on_white(made) if target == "jpg" else made).save(written, FORMATS[target], **options)
    return {"width": made.width, "height": made.height}, written.getvalue()


def on_white(picture: Image.Image) -> Image.Image:
    """A picture on a white background, for a format without transparency."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, WHITE)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground
