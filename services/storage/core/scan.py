"""Scans all rows and all bytes in the order of their keys, several at a time and with bounded memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from services.chassis.errors import DataLoss
from services.storage.core.scan_progress import Progress, ScanCounts, ScanResult
from services.storage.model import ListedObject, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

AT_ONCE = 8  # objects checked concurrently: half the bucket's connections, so that clients keep theirs
ROW_BATCH = 500  # rows read in one transaction
T = TypeVar("T")
RowAndObject = tuple[StoredObject | None, ListedObject | None]


async def scanned(
    items: AsyncIterator[T], check: Callable[[T], Awaitable[ScanResult | None]], counts: ScanCounts
) -> AsyncIterator[Progress]:
    """Check all items, several at a time, and count the results; None is not counted."""
    async for batch in _batches(items):
        for found in await asyncio.gather(*map(check, batch)):
            if found:
                counts.add(found)
        yield counts.progress()


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
    """All rows whose key begins with the prefix, in the order of their keys."""
    after = ""
    while found := await store.by_key(prefix, after, ROW_BATCH):
        for row in found:
            yield row
        after = found[-1].key


async def rows_and_objects(
    known: AsyncIterator[StoredObject], lying: AsyncIterator[ListedObject]
) -> AsyncIterator[RowAndObject]:
    """Join rows and listed objects by key; both sources must be in the order of their keys."""
    row, listed = await anext(known, None), await anext(lying, None)
    while row or listed:
        first = min(each.key for each in (row, listed) if each)
        yield (row if row and row.key == first else None, listed if listed and listed.key == first else None)
        if row and row.key == first:
            row = await anext(known, None)
        if listed and listed.key == first:
            listed = await anext(lying, None)


async def stat_of_bytes(backend: Backend, key: str) -> Stat | None:
    """Size and hash of an object by reading it whole; None when there is none."""
    digest, size = hashlib.sha256(), 0
    try:
        async for chunk in backend.read(key, 0, 0):
            digest.update(chunk)
            size += len(chunk)
    except DataLoss:  # absence is a result of the comparison
        return None
    return Stat(size, digest.hexdigest())
