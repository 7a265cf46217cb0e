"""Writes the rows of stored bytes, and makes row and bytes agree when two writers raced."""

from services.chassis import failpoints
from services.chassis.database import Database
from services.storage.model import NO_METADATA, PICTURE_TYPES, ObjectMetadata, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore, Spool

CROWDED = "Too many files are on their way in. Try again shortly."
MAX_LOOKS = 16  # each means that another writer interfered, whose own checks then settle it


async def put(
    backend: Backend, database: Database, store: ObjectStore, new: StoredObject, spool: Spool, *, named: bool = False
) -> bool:
    """Announce the bytes of a new row, then put them; returns what Backend.put returns.

    `named` says that a client chose the name: an object under that key may be foreign, and is not announced as ours.
    """
    if not named or await backend.size(new.key) is None:
        await database.write(store.announce, new.key, _stat(new))
    return await backend.put(new.key, spool, new.metadata)


async def add(database: Database, store: ObjectStore, new: StoredObject) -> StoredObject:
    """Write the row of bytes that are in their place; returns what ObjectStore.add returns."""
    kept = await database.write(store.add, new)
    await failpoints.reach("row.after_commit")
    return kept


async def register(
    backend: Backend, database: Database, store: ObjectStore, new: StoredObject, spool: Spool
) -> StoredObject:
    """Write the row of bytes that were just put; returns the row that has the same identity, an older one if there is.

    Garbage collection may delete bytes just before their row is written, so the writer of the row checks them once more
    and puts them back; garbage collection checks the row in turn (core/garbage_collection.py).

    A server that ignores create-if-absent lets the later of two writers win although the first wrote the row: then the
    row is corrected to the bytes, which are whole. Every writer checks after its last write, so the last one is right.
    """
    kept = await add(database, store, new)
    if kept.key == new.key and await backend.size(new.key) is None:
        await backend.put(new.key, spool, new.metadata)
    if kept.key != new.key or _stat(kept) == _stat(new):
        return kept
    for _ in range(MAX_LOOKS):
        stat = await backend.stat(kept.key)
        if stat is None or stat == _stat(kept):
            break
        corrected = await database.write(store.correct, kept.key, stat)
        kept = corrected or kept
    return kept


async def metadata_of(database: Database, store: ObjectStore, key: str) -> ObjectMetadata:
    """The metadata of a key, for copies between backends: that of its row, else the type of its extension."""
    if known := await database.read(store.get, key):
        return known.metadata
    extension = key.rpartition(".")[2]
    return next(
        (ObjectMetadata(kind.content_type) for kind in PICTURE_TYPES if kind.extension == extension), NO_METADATA
    )


async def is_kept(database: Database, store: ObjectStore, key: str) -> bool:
    """Whether a key has a row."""
    return await database.read(store.get, key) is not None


def _stat(row: StoredObject) -> Stat:
    return Stat(row.size, row.sha256)
