"""What a worker does with a file: look at it, or make a smaller one of it."""

import base64
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from PIL import Image

from services.storage.pictures import anatomy, location
from services.storage.pictures.look import FORMATS, MAX_SIDE, opened, size_within, small, upright_size
from services.storage.pictures.marks import marks_of
from services.storage.pictures.thumbhash import thumb_hash
from services.storage.pictures.wire import Message

WHITE = (255, 255, 255)
HASHED = (32, 32)  # a ThumbHash's few waves see no more


def inspect(path: str, extension: str, places: bool) -> Message:  # noqa: FBT001 - from a job in JSON
    """Decode all of a picture; its facts, and if asked, in the body the bytes to put where it tells a place."""
    with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        parts = anatomy.dissect(data, extension)
        edits = location.edits(data, parts, extension) if places else []
        rest = len(data) - parts.end
    with opened(Path(path), extension, parts.frames) as picture:
        facts = described(picture)
        for number in range(1, min(parts.frames, getattr(picture, "n_frames", 1))):
            picture.seek(number)
            picture.load()
    spots = [(start, stop, len(new)) for start, stop, new in edits]
    return facts | {"frames": parts.frames, "rest": rest, "edits": spots}, b"".join(new for _, _, new in edits)


def described(picture: Image.Image) -> dict[str, Any]:
    """Size as people see it, and ThumbHash, of the first frame."""
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
    """The first frame within a box, 0 of which is as much as there is, in another format."""
    box = box[0] or MAX_SIDE, box[1] or MAX_SIDE
    with opened(Path(path), extension) as picture:
        size = size_within(picture, box)
        picture.draft("RGB", size)  # a JPEG decodes at a fraction of its size
        picture.load()
        marks = marks_of(picture)
        made = small(picture, size)
    written = BytesIO()
    options = marks.options(target) | ({} if target == "png" else {"quality": quality})
    (on_white(made) if target == "jpg" else made).save(written, FORMATS[target], **options)
    return {"width": made.width, "height": made.height}, written.getvalue()


def on_white(picture: Image.Image) -> Image.Image:
    """A picture nothing shows through, for a format that cannot have it."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, WHITE)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground
