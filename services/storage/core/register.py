"""Writes the row of bytes that are durable, and sees that row and bytes agree where two writers met."""

from services.storage.model import PICTURE_TYPES, UNLABELLED, Label, Stat, StoredObject
from services.storage.ports import Backend, Draft, ObjectStore

MAX_LOOKS = 16  # each means that another writer came between; then that one's own looks settle it


async def put(backend: Backend, store: ObjectStore, new: StoredObject, draft: Draft, *, named: bool = False) -> bool:
    """Put a draft under the key of a row to come, announced first; as Backend.put.

    `named` says that a client chose the name: what lies there already may be others', and is not announced as ours.
    """
    if not named or await backend.size(new.key) is None:
        await store.announce(new.key, _stat(new))
    return await backend.put(new.key, draft, new.label)


async def register(backend: Backend, store: ObjectStore, new: StoredObject, draft: Draft) -> StoredObject:
    """Keep the row of what was just put from a draft; returns the row that has its identity.

    Bytes that lay there without a row may be swept up just before it is written (core.garbage), so whoever writes the
    row looks for them once more and puts them back; the sweeper looks for the row the other way round.

    A place that ignores create-if-absent lets the later of two writers win although the first wrote the row: then the
    row follows the bytes, which are whole. Every writer looks after its last word, so the last of them ends in truth.
    """
    kept = await store.add(new)
    if kept.key == new.key and await backend.size(new.key) is None:
        await backend.put(new.key, draft, new.label)
    if kept.key != new.key or _stat(kept) == _stat(new):
        return kept
    for _ in range(MAX_LOOKS):
        stat = await backend.stat(kept.key)
        if stat is None or stat == _stat(kept):
            break
        kept = await store.correct(kept.key, stat) or kept
    return kept


async def label_of(store: ObjectStore, key: str) -> Label:
    """What stands on the bytes of a key, for whoever moves them: the row's word, else the type its extension tells."""
    if known := await store.get(key):
        return known.label
    extension = key.rpartition(".")[2]
    return next((Label(kind.content_type) for kind in PICTURE_TYPES if kind.extension == extension), UNLABELLED)


async def is_kept(store: ObjectStore, key: str) -> bool:
    """Whether a key has a row."""
    return await store.get(key) is not None


def _stat(row: StoredObject) -> Stat:
    return Stat(row.size, row.sha256)
