"""What storage talks about: pictures' types, stored objects, and the orders to store them."""

from dataclasses import dataclass
from enum import StrEnum


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


class Source(StrEnum):
    """Where an object came from, in the seeds' words."""

    UPLOAD = "upload"
    KIE_DOWNLOAD = "kie-download"
    IMPORT = "import"


@dataclass(frozen=True)
class Label:
    """What a bucket is told to keep beside the bytes (S0 section 4); empty fields are left out."""

    content_type: str = "application/octet-stream"
    original_name: str = ""
    task_id: str = ""
    source: str = ""
    original_url: str = ""


UNLABELLED = Label()


@dataclass(frozen=True)
class StoredObject:
    """One stored file. create_ms counts from 1970 by the database's clock and is 0 until the row is written."""

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

    @property
    def label(self) -> Label:
        """What stands on the bytes themselves."""
        return Label(self.content_type, self.original_name, self.generation_id or "", self.source, self.source_uri)


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


@dataclass(frozen=True)
class ImportOrder:
    """What to fetch and where it belongs; without a generation the index means nothing."""

    source_uri: str
    generation_id: str = ""
    index: int = 0
    file_name: str = ""
    download_uri: str = ""

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
