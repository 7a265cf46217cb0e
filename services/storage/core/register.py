"""Writes the row of bytes that are durable, and sees that row and bytes agree where two writers met."""

from services.storage.model import PICTURE_TYPES, UNLABELLED, Label, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore


async def register(backend: Backend, store: ObjectStore, new: StoredObject) -> StoredObject:
    """Keep the row of what was just put; returns the row that has its identity.

    A place that ignores create-if-absent lets the later of two writers win although the first wrote the row: then the
    row follows the bytes, which are whole.
    """
    kept = await store.add(new)
    if kept.key != new.key or (kept.size, kept.sha256) == (new.size, new.sha256):
        return kept
    stat = await backend.stat(kept.key)
    return await _agreeing(store, kept, stat) if stat else kept


async def _agreeing(store: ObjectStore, kept: StoredObject, stat: Stat) -> StoredObject:
    if stat == Stat(kept.size, kept.sha256):
        return kept
    return await store.correct(kept.key, stat) or kept


async def label_of(store: ObjectStore, key: str) -> Label:
    """What stands on the bytes of a key, for whoever moves them: the row's word, else the type its extension tells."""
    if known := await store.get(key):
        return known.label
    extension = key.rpartition(".")[2]
    return next((Label(kind.content_type) for kind in PICTURE_TYPES if kind.extension == extension), UNLABELLED)
