"""What storage talks about: pictures' types, stored objects, and the orders to store them."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


@dataclass(frozen=True)
class PictureType:
    """A kind of picture we keep: the extension of its keys and its media type."""

    extension: str
    content_type: str


PNG = PictureType("png", "image/png")
JPEG = PictureType("jpg", "image/jpeg")
WEBP = PictureType("webp", "image/webp")
GIF = PictureType("gif", "image/gif")
PICTURE_TYPES = (PNG, JPEG, WEBP, GIF)


@dataclass(frozen=True)
class Edit:
    """New bytes in place of those from start to stop of a file."""

    start: int
    stop: int
    new: bytes


@dataclass(frozen=True)
class PictureFacts:
    """What a whole look at a picture tells.

    Width and height are pixels as people see them, thumb_hash is base64. `rest` counts the bytes behind the picture's
    end; `edits`, in order, would take out where it was taken, and are looked for in what clients bring only.
    """

    width: int
    height: int
    frames: int
    thumb_hash: str
    rest: int = 0
    edits: tuple[Edit, ...] = ()


class Lane(Enum):
    """Who waits for a look at a picture. What clients send never holds up results: each lane has its own workers."""

    CLIENTS = auto()
    RESULTS = auto()


@dataclass(frozen=True)
class Recipe:
    """A derivative: the first frame within width x height, 0 of which is no bound, at a quality from 1 to 100.

    The quality is 0 where the format has none. Nothing is ever enlarged.
    """

    width: int
    height: int
    quality: int
    kind: PictureType


@dataclass(frozen=True)
class Derivative:
    """A picture made from another: its bytes, and its size in pixels."""

    content: bytes
    width: int
    height: int


@dataclass(frozen=True)
class VariantWish:
    """The derivative a client asks for; 0 and empty leave it to us. A signature of ours permits it as it is."""

    width: int = 0
    height: int = 0
    quality: int = 0
    extension: str = ""
    signature: str = ""


class Source(StrEnum):
    """Where an object came from, in the seeds' words."""

    UPLOAD = "upload"
    KIE_DOWNLOAD = "kie-download"
    IMPORT = "import"
    VARIANT = "variant"


@dataclass(frozen=True)
class Label:
    """What a bucket is told to keep beside the bytes; an empty source is left out.

    Whoever may read the bytes may read it: names that people gave, ids and URLs stay in the rows.
    """

    content_type: str = "application/octet-stream"
    source: str = ""


UNLABELLED = Label()


@dataclass(frozen=True)
class StoredObject:
    """One stored file.

    create_ms counts from 1970 by the database's clock, or is the one that a restored object had; 0 until the row is
    written.

    Width and height are pixels as people see them, and thumb_hash is base64; 0 and empty where nobody has looked.
    """

    key: str
    content_type: str
    size: int
    sha256: str
    source: str
    generation_id: str | None = None
    index: int | None = None
    original_name: str = ""
    source_uri: str = ""
    create_ms: int = 0
    width: int = 0
    height: int = 0
    thumb_hash: str = ""

    @property
    def label(self) -> Label:
        """What stands on the bytes themselves."""
        return Label(self.content_type, self.source)


@dataclass(frozen=True)
class Stat:
    """Size in bytes and SHA-256 in hex of the bytes under a key."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """A key that a listing found: its bytes' size, and when they were last written, in seconds since 1970."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True)
class UploadSpec:
    """What a client says of the file it is about to send; max_bytes is 0 when it leaves the limit to us."""

    prefix: str = ""
    original_name: str = ""
    max_bytes: int = 0
    generation_id: str = ""


def import_alias(file_name: str, task_id: str) -> str:
    """One import a URL and task, or without a task one a URL and wished name; no file name holds a NUL."""
    return f"\0{task_id}" if task_id else file_name


@dataclass(frozen=True)
class ImportOrder:
    """What to fetch and where it belongs; without a generation the index means nothing.

    task_id is what the client says it is of, when that is no generation of ours. file_stem names the file of a
    generation's picture; it is empty for those of older versions, whose key holds the generation's id.
    """

    source_uri: str
    generation_id: str = ""
    index: int = 0
    file_name: str = ""
    download_uri: str = ""
    task_id: str = ""
    file_stem: str = ""

    @property
    def alias(self) -> str:
        """What tells this import from others of the same URL."""
        return import_alias(self.file_name, self.task_id)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The URLs to try, the fresher link first."""
        return tuple(dict.fromkeys(uri for uri in (self.download_uri, self.source_uri) if uri))


@dataclass(frozen=True)
class Filter:
    """Which objects a list shows: keys that begin with the prefix, of that generation; empty means any."""

    prefix: str = ""
    generation_id: str = ""


@dataclass(frozen=True)
class Cursor:
    """The last object of a page; the next page begins below it."""

    create_ms: int
    key: str


@dataclass(frozen=True)
class Page:
    """Objects, newest first, and the token of what follows; empty at the end."""

    objects: tuple[StoredObject, ...]
    next_page_token: str


@dataclass(frozen=True)
class UploadLink:
    """A permission to PUT one file, and what its holder declared; times are milliseconds since 1970."""

    key: str
    content_type: str
    size: int
    original_name: str
    expire_ms: int


@dataclass(frozen=True)
class IssuedLink:
    """An upload link, and where to PUT: a URL of the bucket itself, or, when empty, our door with the signed token."""

    link: UploadLink
    token: str
    bucket_uri: str = ""
