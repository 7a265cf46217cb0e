"""What storage needs from the outside: a place for bytes, a place for rows, and a way to fetch."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.storage.model import (
    UNLABELLED,
    Cursor,
    Derivative,
    Filter,
    Label,
    Lane,
    Listed,
    PictureFacts,
    PictureType,
    Recipe,
    Stat,
    StoredObject,
    UploadLink,
)

GUESTS = "guests/"  # where the second of two places keeps what came while the first was down; no key of the core's
DRAFT_SECONDS = 3600.0  # an untouched draft of this age belongs to nobody: no upload or fetch may pause so long


Ours = Callable[[str], Awaitable[bool]]
"""Whether we began to write a key."""


class Draft(Protocol):
    """Bytes on their way in, spooled to a file: nobody else reads them, and they vanish unless put under a key."""

    @property
    def path(self) -> Path:
        """The file of this machine that holds them."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the bytes written so far."""

    @property
    def head(self) -> bytes:
        """The first bytes written, at least sniff.HEAD_BYTES of them once so many came."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes, at most a few MiB at a time.

        Raises:
            ResourceExhausted: STORAGE_FULL.
            Unavailable: STORAGE_DOWN.
        """


class Backend(Protocol):
    """Where bytes lie, by key. Objects appear whole or not at all, and never change.

    Every method raises Unavailable with reason STORAGE_DOWN when the place cannot be reached or refuses our rights.
    """

    def draft(self) -> AbstractAsyncContextManager[Draft]:
        """Open a draft; leaving the context removes it, whether it was put or not."""

    async def put(self, key: str, draft: Draft, label: Label = UNLABELLED) -> bool:
        """Make the draft's bytes durable and visible under the key, in one step, if nothing is there.

        Any backend's draft will do. Of many that race for a key one wins. Returns True when the key now holds the
        draft's content, even if an earlier put brought it, and False when it holds other content, which is left as it
        is. A place that can keeps the label beside the bytes.

        Raises:
            ResourceExhausted: STORAGE_FULL; nothing is left behind.
        """

    def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Stream the bytes from the offset, at most limit of them (0: to the end), in pieces of at most 256 KiB.

        Raises:
            DataLoss: nothing lies under the key.
        """

    async def size(self, key: str) -> int | None:
        """Size of what lies under the key; None when nothing does. Cheap."""

    async def stat(self, key: str) -> Stat | None:
        """Size and hash of what lies under the key; None when nothing does. May have to read it all."""

    async def path(self, key: str) -> Path | None:
        """The regular file of this machine under the key, reached without following any symbolic link.

        None when there is none, or when the bytes lie elsewhere.
        """

    def keys(self, prefix: str, after: str = "") -> AsyncIterator[Listed]:
        """List what lies under keys that begin with the prefix and come after `after`, by the order of their bytes.

        What comes or goes meanwhile may or may not be listed; the listing can be taken up again at any key.
        """

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """A URL to which anyone may PUT that many bytes of that type under the key for so long; empty: use our door."""

    async def delete(self, key: str) -> None:
        """Remove what lies under the key, if anything does."""

    async def reap(self, ours: Ours) -> None:
        """Remove drafts that nobody touched for DRAFT_SECONDS, and parts so old of keys that are ours.

        Others may use the same bucket: no object is removed, and no parts of a key that `ours` does not know.
        """

    async def ping(self) -> None:
        """Return when the place works."""


class ObjectStore(Protocol):
    """The rows of stored objects. A row is written only after its bytes are durable.

    Every method raises Unavailable when the database cannot be reached.
    """

    async def add(self, new: StoredObject) -> StoredObject:
        """Keep a row and return it with its create_ms: the one that is given, or the database's time for 0.

        A key that is being deleted cannot be added: Unavailable, OBJECT_BEING_DELETED.
        Where a row has the same key, the same (generation_id, index), or, without a generation, the same
        (source_uri, import_alias), nothing is written and that row is returned.
        """

    async def get(self, key: str) -> StoredObject | None:
        """The row of a key."""

    async def of_generation(self, generation_id: str, index: int) -> StoredObject | None:
        """The row of a generation's picture."""

    async def of_source(self, source_uri: str, alias: str) -> StoredObject | None:
        """The row of what was imported from there under that import_alias, without a generation."""

    async def list(self, wanted: Filter, before: Cursor | None, limit: int) -> tuple[StoredObject, ...]:
        """At most limit rows, newest first, by (create_ms, key) descending, strictly below the cursor."""

    async def without_thumb(self, since_ms: int, limit: int) -> tuple[str, ...]:
        """Keys of at most so many artworks since then that have no thumbnail, newest first."""

    async def by_key(self, prefix: str, after: str, limit: int) -> tuple[StoredObject, ...]:
        """At most limit rows whose key begins with the prefix and comes after `after`, by the order of its bytes."""

    async def variant_bytes(self) -> int:
        """The bytes that the rows of all variants speak of."""

    async def oldest_variants(self, before_ms: int, limit: int) -> tuple[StoredObject, ...]:
        """At most limit variants made before, the oldest first."""

    async def totals(self) -> tuple[int, int]:
        """How many rows there are, and the bytes that they speak of."""

    async def correct(self, key: str, stat: Stat) -> StoredObject | None:
        """Write the size and hash that the bytes have into the row of a key; the row, None when there is none."""

    async def delete(self, key: str) -> None:
        """Forget a row, if there is one."""

    async def announce(self, key: str, stat: Stat) -> None:
        """Say that these bytes are about to be put under a key; the key's row ends the announcement.

        It is the proof that bytes without a row are ours: nothing else tells them from what others laid there.
        """

    async def announced(self, key: str) -> Stat | None:
        """What was announced for a key that has no row yet."""

    async def withdraw(self, key: str) -> None:
        """End an announcement without a row."""

    async def bury(self, key: str) -> bool:
        """Put a tombstone in the place of a row, in one step: from now on the object is gone, and then its bytes go.

        Returns False when there is neither a row nor a deletion that did not come to its end. Until that end no row
        of the key can be added: add raises Unavailable, OBJECT_BEING_DELETED.
        """

    async def swept(self, key: str) -> None:
        """Say that the bytes of a buried object are gone; its tombstone stays for a while."""

    async def tombstones(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Keys that were buried before then, or whose deletion did not come to its end; none can be added meanwhile."""

    async def forget(self, key: str) -> None:
        """Remove a tombstone."""

    async def add_link(self, link: UploadLink) -> None:
        """Keep an upload link; its key is new."""

    async def get_link(self, key: str) -> UploadLink | None:
        """The upload link of a key."""

    async def expired_links(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Keys of at most so many links that expired before that time, the oldest first."""

    async def delete_link(self, key: str) -> None:
        """Forget a link, if there is one."""


class Studio(Protocol):
    """Where pictures are decoded, apart from this process: nothing that a file holds can harm or stop it.

    Every method raises InvalidArgument with reason INVALID_IMAGE for what is damaged or no picture of that type, and
    IMAGE_TOO_LARGE for what needs more pixels, frames, memory or time than we give; Unavailable with reason
    STUDIO_BUSY when too many others wait, or when a look was cut short by no fault of the picture.
    """

    async def inspect(self, path: Path, kind: PictureType, lane: Lane = Lane.CLIENTS) -> PictureFacts:
        """Decode every frame of a file, so that what passes can be shown.

        Results stay as they were made, so nothing is looked for in them that would be taken out.
        """

    async def derive(self, path: Path, kind: PictureType, recipe: Recipe) -> Derivative:
        """The picture in another size and format, upright.

        The marks of who or what made it come along where the format has room; where it was taken does not.
        """


class Fetcher(Protocol):
    """The one way to a URL that is not of our own configuration."""

    def fetch(self, uri: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a URL and stream its body, every hop guarded; the context ends the connection.

        Raises, on opening or while streaming:
            InvalidArgument: URL_NOT_ALLOWED, the URL or where it leads is not a public http(s) address.
            NotFound: SOURCE_GONE, the server says 403, 404 or 410.
            Unavailable: SOURCE_UNAVAILABLE, anything else that keeps the body from arriving whole.
        """

    async def check(self, uri: str) -> None:
        """Look at a URL as fetch would, and send nothing; a name that cannot be resolved now passes.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """


@dataclass(frozen=True)
class Fetchers:
    """Two ways out with a budget each: what clients import never holds up the permanent copies of results."""

    imports: Fetcher
    copies: Fetcher
