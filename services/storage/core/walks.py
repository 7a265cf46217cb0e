"""Walks over all rows and all bytes in the order of their keys, some at a time and with bounded memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from services.chassis.errors import DataLoss
from services.storage.core.tally import Look, Progress, Tally
from services.storage.model import Listed, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

AT_ONCE = 8  # objects looked at together: half the bucket's connections, so that clients keep theirs
ROW_BATCH = 500  # rows read in one transaction
T = TypeVar("T")
Pair = tuple[StoredObject | None, Listed | None]


async def walked(
    items: AsyncIterator[T], look: Callable[[T], Awaitable[Look | None]], tally: Tally
) -> AsyncIterator[Progress]:
    """Look at everything, some at once; None counts as nothing."""
    async for batch in _batches(items):
        for found in await asyncio.gather(*map(look, batch)):
            if found:
                tally.add(found)
        yield tally.progress()


async def _batches(items: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


async def rows(store: ObjectStore, prefix: str = "") -> AsyncIterator[StoredObject]:
    """Every row whose key begins with the prefix, by the order of their keys."""
    after = ""
    while found := await store.by_key(prefix, after, ROW_BATCH):
        for row in found:
            yield row
        after = found[-1].key


async def paired(known: AsyncIterator[StoredObject], lying: AsyncIterator[Listed]) -> AsyncIterator[Pair]:
    """Rows and bytes of the same key side by side, both sources being in the order of their keys."""
    row, listed = await anext(known, None), await anext(lying, None)
    while row or listed:
        first = min(each.key for each in (row, listed) if each)
        yield (row if row and row.key == first else None, listed if listed and listed.key == first else None)
        if row and row.key == first:
            row = await anext(known, None)
        if listed and listed.key == first:
            listed = await anext(lying, None)


async def stat_of_bytes(backend: Backend, key: str) -> Stat | None:
    """Size and hash of what is really there, read to its end now; None when it is not there."""
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in backend.read(key, 0, 0):
            digest.update(chunk)
            size += len(chunk)
    except DataLoss:  # for whoever compares, absence is an answer
        return None
    return Stat(size, digest.hexdigest())
