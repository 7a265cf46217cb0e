"""The ports of storage: backends for bytes, a store for rows, a fetcher and a decoder pool."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.chassis.database import Transaction
from services.storage.model import (
    NO_METADATA,
    Cursor,
    Derivative,
    Filter,
    Lane,
    ListedObject,
    MissingThumb,
    ObjectMetadata,
    PictureFacts,
    PictureType,
    Stat,
    StoredObject,
    UploadLink,
    VariantSpec,
)

CHUNK_BYTES = 256 * 1024  # of a piece of an object on its way (docs/storage.md#chunks)
HEAD_BYTES = 16  # what a spool keeps for detecting a type; the longest signature has twelve
FAILOVER_PREFIX = "guests/"  # prefix of failover copies in the second backend; stored, so never renamed
SPOOL_SECONDS = 3600.0  # a spool file untouched for so long is abandoned: no upload or fetch may pause so long


Ours = Callable[[str], Awaitable[bool]]
"""Whether a key was written, or begun to be written, by us."""


class Spool(Protocol):
    """Incoming bytes, spooled to a private file, which is removed unless it is put under a key."""

    @property
    def path(self) -> Path:
        """The local file."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the bytes written so far."""

    @property
    def head(self) -> bytes:
        """The first bytes written, HEAD_BYTES of them once so many came."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes, at most a few MiB at a time.

        Raises:
            ResourceExhausted: STORAGE_FULL.
            Unavailable: STORAGE_DOWN.
        """


class Backend(Protocol):
    """Keeps bytes by key. Objects appear whole or not at all, and never change.

    Every method raises Unavailable with reason STORAGE_DOWN when the disk or bucket fails, cannot be reached, or denies
    access.
    """

    def spool(self) -> AbstractAsyncContextManager[Spool]:
        """Open a spool; leaving the context removes it, whether it was put or not."""

    async def put(self, key: str, spool: Spool, metadata: ObjectMetadata = NO_METADATA) -> bool:
        """Make the spool's bytes durable and visible under a free key, atomically.

        The spool may be another backend's. Of many that race for a key one wins. Returns True when the key now holds
        the spool's content, even if an earlier put wrote it, and False when it holds other content, which is left as
        it is. A bucket keeps the metadata with the object.

        Raises:
            ResourceExhausted: STORAGE_FULL; nothing is left behind.
        """

    def read(self, key: str, offset: int, limit: int) -> AsyncIterator[bytes]:
        """Stream the bytes from the offset, at most limit of them (0: to the end), in pieces of at most CHUNK_BYTES.

        Raises:
            DataLoss: there is no object under the key.
        """

    async def size(self, key: str) -> int | None:
        """The size of an object; None when there is none. Cheap."""

    async def stat(self, key: str) -> Stat | None:
        """Size and hash of an object; None when there is none. May have to read it whole."""

    async def path(self, key: str) -> Path | None:
        """The local regular file of an object, reached without following any symbolic link.

        None when there is no object, or when it is not a local file.
        """

    def keys(self, prefix: str, after: str = "") -> AsyncIterator[ListedObject]:
        """List the objects whose key begins with the prefix and comes after `after`, in byte order of keys.

        Objects that are added or deleted meanwhile may or may not be listed; a listing can be resumed at any key.
        """

    async def upload_uri(self, key: str, content_type: str, size: int, seconds: int) -> str:
        """A URL to which anyone may PUT an object of this type and size for `seconds`; empty: use our own listener."""

    async def delete(self, key: str) -> None:
        """Delete the object under the key, if there is one."""

    async def reap(self, ours: Ours) -> None:
        """Remove spool files and multipart uploads of our keys that are older than SPOOL_SECONDS.

        Others may use the same bucket: no object is deleted, and no upload of a key that is not `ours`.
        """

    async def ping(self) -> None:
        """Return when the backend works."""


class ObjectStore(Protocol):
    """The rows of stored objects, within the transaction that it is given.

    A row is written only after its bytes are durable.
    """

    def add(self, transaction: Transaction, new: StoredObject) -> StoredObject:
        """Insert a row and return it with its create_ms: the one given, or the database's time for 0.

        A key that is being deleted cannot be added: Unavailable, OBJECT_BEING_DELETED.
        Where a row has the same key, the same (generation_id, index), or, without a generation, the same
        (source_uri, import_alias), nothing is written and that row is returned.
        """

    def get(self, transaction: Transaction, key: str) -> StoredObject | None:
        """The row of a key; None when there is none."""

    def of_generation(self, transaction: Transaction, generation_id: str, index: int) -> StoredObject | None:
        """The row of a generation's picture; None when there is none."""

    def of_source(self, transaction: Transaction, source_uri: str, alias: str) -> StoredObject | None:
        """The row of an import without a generation, by its URL and import_alias; None when there is none."""

    def list(
        self, transaction: Transaction, wanted: Filter, before: Cursor | None, limit: int
    ) -> tuple[StoredObject, ...]:
        """At most limit rows, newest first, by (create_ms, key) descending, strictly below the cursor."""

    def without_thumb(self, transaction: Transaction, since_ms: int, limit: int) -> tuple[str, ...]:
        """The keys of at most `limit` artworks without a thumbnail that were stored since a time, newest first.

        Those that are queued are left out.
        """

    def queue_thumbs(self, transaction: Transaction, keys: Sequence[str]) -> None:
        """Queue the thumbnails of artworks, due now; keys of other objects, and those queued already, are passed over.

        Adding the row of an artwork without a create_ms queues its thumbnail, too.
        """

    def any_thumb_due(self, transaction: Transaction) -> bool:
        """Whether claim_thumbs would claim any."""

    def claim_thumbs(self, transaction: Transaction, limit: int, lease_seconds: float) -> Sequence[MissingThumb]:
        """Lease at most `limit` thumbnails that are due."""

    def postpone_thumb(self, transaction: Transaction, key: str, seconds: float) -> None:
        """Let a queued thumbnail be due in so many seconds; of one that is not queued, nothing."""

    def end_thumb(self, transaction: Transaction, key: str) -> None:
        """Take a thumbnail out of the queue."""

    def by_key(self, transaction: Transaction, prefix: str, after: str, limit: int) -> tuple[StoredObject, ...]:
        """At most limit rows whose key begins with the prefix and comes after `after`, by the order of its bytes."""

    def variant_bytes(self, transaction: Transaction) -> int:
        """The sum of the sizes in the rows of all variants."""

    def oldest_variants(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[StoredObject, ...]:
        """The rows of at most limit variants that were made before a time, the oldest first."""

    def totals(self, transaction: Transaction) -> tuple[int, int]:
        """The number of rows and the sum of their sizes."""

    def correct(self, transaction: Transaction, key: str, stat: Stat) -> StoredObject | None:
        """Set size and hash of a row to those of its bytes; returns the row, None when there is none."""

    def delete(self, transaction: Transaction, key: str) -> None:
        """Delete a row, if there is one."""

    def announce(self, transaction: Transaction, key: str, stat: Stat) -> None:
        """Note that these bytes are about to be put under a key; adding the key's row ends the announcement.

        It is the only proof that bytes without a row are ours and not another program's.
        """

    def announced(self, transaction: Transaction, key: str) -> Stat | None:
        """The announced size and hash of a key that has no row yet; None when nothing is announced."""

    def withdraw(self, transaction: Transaction, key: str) -> None:
        """End an announcement without a row."""

    def begin_deletion(self, transaction: Transaction, key: str) -> bool:
        """Replace a row by a tombstone, atomically: the object is gone at once, its bytes are deleted afterwards.

        Returns False when there is neither a row nor an unfinished deletion. Until the deletion is finished no row of
        the key can be added: add raises Unavailable, OBJECT_BEING_DELETED.
        """

    def end_deletion(self, transaction: Transaction, key: str) -> None:
        """Note that the bytes of a deleted object are gone; the tombstone stays until it is removed."""

    def due_tombstones(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """At most limit keys with a tombstone older than a time or with an unfinished deletion.

        From then on no row of these keys can be added until their tombstone is removed.
        """

    def remove_tombstone(self, transaction: Transaction, key: str) -> None:
        """Remove a tombstone."""

    def add_link(self, transaction: Transaction, link: UploadLink) -> None:
        """Insert an upload link; its key is new."""

    def get_link(self, transaction: Transaction, key: str) -> UploadLink | None:
        """The upload link of a key; None when there is none."""

    def expired_links(self, transaction: Transaction, before_ms: int, limit: int) -> tuple[str, ...]:
        """The keys of at most `limit` links that expired before a time, the oldest first."""

    def delete_link(self, transaction: Transaction, key: str) -> None:
        """Delete a link, if there is one."""


class DecoderPool(Protocol):
    """Decodes pictures outside of this process, so that no file can harm or stop the service.

    Every method raises InvalidArgument with reason INVALID_IMAGE for a file that is damaged or no picture of that type,
    and with IMAGE_TOO_LARGE for a picture that needs more pixels, frames, memory or time than are allowed; Unavailable
    with reason STUDIO_BUSY when too many other files wait, or when decoding was interrupted by no fault of the picture.
    """

    async def inspect(self, path: Path, kind: PictureType, lane: Lane = Lane.CLIENTS) -> PictureFacts:
        """Decode every frame of a file and return its facts.

        For the lane of results no GPS edits are computed: results stay as they were made.
        """

    async def derive(self, path: Path, kind: PictureType, spec: VariantSpec) -> Derivative:
        """Make a smaller picture in another format, upright.

        Provenance metadata is kept where the format has room for it; GPS data is not.
        """


class Fetcher(Protocol):
    """Fetches URLs that clients and providers name, which may be hostile."""

    def fetch(self, uri: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a URL and stream its body, every hop guarded; the context ends the connection.

        Raises, on opening or while streaming:
            InvalidArgument: URL_NOT_ALLOWED, the URL or where it leads is not a public http(s) address.
            NotFound: SOURCE_GONE, the server says 403, 404 or 410.
            Unavailable: SOURCE_UNAVAILABLE, anything else that keeps the body from arriving whole.
        """

    async def check(self, uri: str) -> None:
        """Vet a URL as fetch would, without sending anything; a name that cannot be resolved now passes.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """


@dataclass(frozen=True)
class Fetchers:
    """Two fetchers with connections of their own: clients' imports never delay the permanent copies of results."""

    imports: Fetcher
    copies: Fetcher
