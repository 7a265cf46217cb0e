"""The values of storage: picture types, stored objects, upload links and import orders."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


@dataclass(frozen=True)
class PictureType:
    """A supported picture type: the extension of its keys and its media type."""

    extension: str
    content_type: str


PNG = PictureType("png", "image/png")
JPEG = PictureType("jpg", "image/jpeg")
WEBP = PictureType("webp", "image/webp")
GIF = PictureType("gif", "image/gif")
PICTURE_TYPES = (PNG, JPEG, WEBP, GIF)


@dataclass(frozen=True)
class Edit:
    """An edit of a file: `new` replaces the bytes from `start` to `stop`."""

    start: int
    stop: int
    new: bytes


@dataclass(frozen=True)
class PictureFacts:
    """The facts that decoding a picture yields.

    Width and height are upright pixels, thumb_hash is base64. `rest` counts the bytes behind the picture's end;
    `edits`, in order, remove its GPS data, and are computed for clients' files only.
    """

    width: int
    height: int
    frames: int
    thumb_hash: str
    rest: int = 0
    edits: tuple[Edit, ...] = ()


class Lane(Enum):
    """For whom a picture is decoded. Each lane has workers of its own, so that uploads never delay results."""

    CLIENTS = auto()
    RESULTS = auto()


@dataclass(frozen=True)
class VariantSpec:
    """The form of a variant: the first frame within width x height (0: no bound), at a quality from 1 to 100.

    The quality is 0 where the format has none. Nothing is ever enlarged.
    """

    width: int
    height: int
    quality: int
    kind: PictureType


@dataclass(frozen=True)
class Derivative:
    """A picture made from another: its bytes, and its width and height in pixels."""

    content: bytes
    width: int
    height: int


@dataclass(frozen=True)
class VariantWish:
    """The variant that a client wants; 0 and empty mean the default. A signature permits exactly this variant."""

    width: int = 0
    height: int = 0
    quality: int = 0
    extension: str = ""
    signature: str = ""


class Source(StrEnum):
    """Where an object came from; stored in its row, and shown to clients."""

    UPLOAD = "upload"
    KIE_DOWNLOAD = "kie-download"
    IMPORT = "import"
    VARIANT = "variant"


@dataclass(frozen=True)
class ObjectMetadata:
    """The metadata that a bucket keeps with an object; an empty source is left out.

    Everybody who may read the object may read it: client file names, ids and URLs are kept in rows only.
    """

    content_type: str = "application/octet-stream"
    source: str = ""


NO_METADATA = ObjectMetadata()


@dataclass(frozen=True)
class StoredObject:
    """One stored file.

    create_ms counts from 1970 by the database's clock, or is that of the export for a restored object; 0 until the row
    is written.

    Width and height are upright pixels, and thumb_hash is base64; 0 and empty if the picture was never decoded.
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
    def metadata(self) -> ObjectMetadata:
        """The metadata of the object's bytes."""
        return ObjectMetadata(self.content_type, self.source)


@dataclass(frozen=True)
class Stat:
    """Size in bytes and SHA-256 in hex of the bytes under a key."""

    size: int
    sha256: str


@dataclass(frozen=True)
class ListedObject:
    """A listed object: its key, its size in bytes, and when it was last written, in seconds since 1970."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True)
class UploadSpec:
    """What a client declares of the file it is about to send; max_bytes 0 means our limit."""

    prefix: str = ""
    original_name: str = ""
    max_bytes: int = 0
    generation_id: str = ""


def import_alias(file_name: str, task_id: str) -> str:
    """What identifies an import beside its URL: the task, or without one the wanted name. No file name holds a NUL."""
    return f"\0{task_id}" if task_id else file_name


@dataclass(frozen=True)
class ImportOrder:
    """An order to import a URL; without a generation_id the index is ignored.

    task_id is the task that the client names, when that is no generation of ours. file_stem is the file name of a
    generation's picture; empty for pictures of older versions, whose key holds the generation's id.
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
        """What distinguishes this import from others of the same URL."""
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


THUMBNAILS = "thumbnails"  # the loop that makes them, and the topic that wakes it


@dataclass(frozen=True)
class MissingThumb:
    """The key of an artwork whose thumbnail is to be made, and when it was queued."""

    id: str
    queue_ms: int
    faults: int = 0  # it is given up by its age, never parked


@dataclass(frozen=True)
class Cursor:
    """The last object of a page; the next page begins below it."""

    create_ms: int
    key: str


@dataclass(frozen=True)
class ObjectPage:
    """Objects, newest first, and the token of what follows; empty at the end."""

    objects: tuple[StoredObject, ...]
    next_page_token: str


@dataclass(frozen=True)
class UploadLink:
    """A permission to PUT one file of a declared type and size; times are milliseconds since 1970."""

    key: str
    content_type: str
    size: int
    original_name: str
    expire_ms: int


@dataclass(frozen=True)
class IssuedLink:
    """An upload link with the URL of the bucket to PUT to; if that is empty, our own listener with the token."""

    link: UploadLink
    token: str
    bucket_uri: str = ""
