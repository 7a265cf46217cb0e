"""Scans all rows and all bytes in the order of their keys, several at a time and with bounded memory.

A scan yields its progress, so that operators can follow it: counts, and the objects with a problem.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from services.chassis.database import Database
from services.chassis.errors import DataLoss
from services.storage.model import ListedObject, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

AT_ONCE = 8  # objects checked concurrently: half the bucket's connections, so that clients keep theirs
ROW_BATCH = 500  # rows read in one transaction
T = TypeVar("T")
RowAndObject = tuple[StoredObject | None, ListedObject | None]


class Problem(StrEnum):
    """What is wrong with an object, or why it cannot be migrated; the proto's comments explain each."""

    BYTES_MISSING = "BYTES_MISSING"
    ROW_MISSING = "ROW_MISSING"
    SIZE_DIFFERS = "SIZE_DIFFERS"
    HASH_DIFFERS = "HASH_DIFFERS"
    TARGET_DIFFERS = "TARGET_DIFFERS"
    NOT_IN_TARGET = "NOT_IN_TARGET"
    NOT_HOME_YET = "NOT_HOME_YET"
    ORIGINAL_GONE = "ORIGINAL_GONE"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    NOT_OURS = "NOT_OURS"
    NOT_A_PICTURE = "NOT_A_PICTURE"


@dataclass(frozen=True)
class ScanResult:
    """The result of checking one object: its size in bytes, whether it was changed, and its problem."""

    key: str
    size: int
    changed: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Progress:
    """Totals since the start of a scan, and the problems found since the last progress."""

    total_count: int
    total_bytes: int
    done_count: int
    done_bytes: int
    changed_count: int
    changed_bytes: int
    problem_count: int
    findings: tuple[ScanResult, ...]
    complete: bool


class ScanCounts:
    """The counts of one scan."""

    def __init__(self, total_count: int, total_bytes: int) -> None:
        self._total = total_count, total_bytes
        self._done_count = self._done_bytes = 0
        self._changed_count = self._changed_bytes = 0
        self._problem_count = 0
        self._findings: list[ScanResult] = []

    def add(self, check: ScanResult) -> None:
        """Count the result of one object."""
        self._done_count += 1
        self._done_bytes += check.size
        self._changed_count += check.changed
        self._changed_bytes += check.size if check.changed else 0
        if check.problem:
            self._problem_count += 1
            self._findings.append(check)

    def progress(self, *, complete: bool = False) -> Progress:
        """The progress until now, with the problems since the last call."""
        findings, self._findings = tuple(self._findings), []
        done, changed = (self._done_count, self._done_bytes), (self._changed_count, self._changed_bytes)
        return Progress(*self._total, *done, *changed, self._problem_count, findings, complete)


async def scanned(
    items: AsyncIterator[T], check: Callable[[T], Awaitable[ScanResult | None]], counts: ScanCounts
) -> AsyncIterator[Progress]:
    """Check all items, several at a time; yields the counts of their results. A result of None is not counted."""
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


async def rows(database: Database, store: ObjectStore, prefix: str = "") -> AsyncIterator[StoredObject]:
    """All rows whose key begins with the prefix, in the order of their keys."""
    after = ""
    while found := await database.read(store.by_key, prefix, after, ROW_BATCH):
        for row in found:
            yield row
        after = found[-1].key


async def rows_and_objects(
    known: AsyncIterator[StoredObject], stored: AsyncIterator[ListedObject]
) -> AsyncIterator[RowAndObject]:
    """Join rows and listed objects by key; both sources must be in the order of their keys."""
    row, listed = await anext(known, None), await anext(stored, None)
    while row or listed:
        first = min(each.key for each in (row, listed) if each)
        yield (row if row and row.key == first else None, listed if listed and listed.key == first else None)
        if row and row.key == first:
            row = await anext(known, None)
        if listed and listed.key == first:
            listed = await anext(stored, None)


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
