"""Object keys. The server chooses all of them; a client's file name is used, sanitised, under generated/ only."""

import re
import secrets
import unicodedata
import uuid
from pathlib import PurePosixPath

from services.chassis.clock import Clock
from services.storage.model import WEBP, PictureType, VariantSpec

UPLOADS, GENERATED, ARTWORKS, PENDING = "uploads", "generated", "artworks/original", "pending"
VARIANTS, THUMBS = "variants", "artworks/thumb"
MAX_STEM_LENGTH = 100  # with folder, suffix and extension far below a file system's 255
MAX_EXTENSION_LENGTH = 5  # of a client's file name, so that "v1.2 final" keeps its dot's tail
TASK_ID = re.compile(
    r"(?<![A-Za-z])gen_[0-9a-z]|[0-9A-Za-z]{20,}|[0-9a-f]{8}-[0-9a-f]{4}-"
)  # of ours, and as providers make them
UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
WAITING = re.compile(rf"{PENDING}/[0-9]{{10,15}}-[0-9a-f]{{32}}\.[a-z]{{3,4}}")
SUFFIX_BYTES, UPLOAD_BYTES = 4, 16  # 8 hex digits tell equal names apart; 32 cannot be guessed


class ObjectKeys:
    """Makes new keys; some hold the time, from the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self, prefix: str, kind: PictureType) -> str:
        """A fresh key for an upload under one of the three prefixes that clients may name."""
        makers = {UPLOADS: self.upload, GENERATED: self.anonymous, ARTWORKS: artwork}
        return makers[prefix](kind)

    def upload(self, kind: PictureType) -> str:
        """uploads/<ms>-<random>.<ext>."""
        return f"{UPLOADS}/{self._clock()}-{secrets.token_hex(UPLOAD_BYTES)}.{kind.extension}"

    def anonymous(self, kind: PictureType) -> str:
        """generated/generated_<ms>_<8 hex>.<ext>."""
        return of_name(f"generated_{self._clock()}_{secrets.token_hex(SUFFIX_BYTES)}", kind)


def artwork(kind: PictureType) -> str:
    """artworks/original/<uuid>.<ext>."""
    return f"{ARTWORKS}/{uuid.uuid4()}.{kind.extension}"


def of_generation(generation_id: str, index: int, kind: PictureType, file_stem: str = "") -> str:
    """generated/<file_stem>.<ext>; without a stem, as in older versions, generated/<generation_id>/<index>.<ext>."""
    if file_stem:
        return of_name(file_stem, kind)
    return f"{GENERATED}/{generation_id}/{index}.{kind.extension}"


def of_name(stem: str, kind: PictureType) -> str:
    """generated/<stem>.<ext>."""
    return f"{GENERATED}/{stem}.{kind.extension}"


def twin_of_name(stem: str, kind: PictureType) -> str:
    """generated/<stem>-<8 random>.<ext>, for a name that other content has taken."""
    return of_name(f"{stem}-{secrets.token_hex(SUFFIX_BYTES)}", kind)


def pending(key: str) -> str:
    """The key under which the bytes of an upload link wait for their confirmation; not public."""
    return f"{PENDING}/{PurePosixPath(key).name}"


def is_pending(key: str) -> bool:
    """Whether only an upload link of ours can have made this key: it holds 128 random bits."""
    return WAITING.fullmatch(key) is not None


def linked(pending_key: str) -> str:
    """The key of the upload link to which a pending key belongs."""
    return f"{UPLOADS}/{PurePosixPath(pending_key).name}"


def variant(key: str, spec: VariantSpec) -> str:
    """variants/<key>/<width>x<height>q<quality>.<ext>; without a quality where the format has none."""
    quality = f"q{spec.quality}" if spec.quality else ""
    return f"{variants_of(key)}{spec.width}x{spec.height}{quality}.{spec.kind.extension}"


def variants_of(key: str) -> str:
    """The prefix of the keys of all variants of an object."""
    return f"{VARIANTS}/{key}/"


def thumb(key: str) -> str:
    """artworks/thumb/<uuid>.webp, of an artwork's key."""
    return f"{THUMBS}/{PurePosixPath(key).stem}.{WEBP.extension}"


def thumbs_of(key: str) -> tuple[str, ...]:
    """The key of an artwork's thumbnail; nothing for other objects."""
    return (thumb(key),) if key.startswith(f"{ARTWORKS}/") else ()


def stem_of(file_name: str, task_id: str = "") -> str:
    """The part of a client's file name that may be used in a key; empty when nothing is left, or it holds a task id.

    Keys are public, and whoever knows a task's id may read the task: no id can be read off a URL.
    """
    name = PurePosixPath(file_name.replace("\\", "/")).name
    stem, dot, extension = name.rpartition(".")
    kept = stem if dot and len(extension) < MAX_EXTENSION_LENGTH else name
    plain = unicodedata.normalize("NFKD", kept).encode("ascii", "ignore").decode("ascii")
    stem = UNSAFE.sub("_", plain).strip("_-")[:MAX_STEM_LENGTH]
    return "" if TASK_ID.search(stem) or (task_id and UNSAFE.sub("_", task_id) in stem) else stem
