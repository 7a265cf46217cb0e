"""Puts a cache before another store, for what would cost more as shares grow in number; every answer stays the same."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from services.chassis.cache import Cache
from services.share.model import NEWEST, Share, Stats, Tally, View
from services.share.ports import Clock, ShareStore
from services.share.stores.slot import Kept, Slot

LATEST_KEY, LATEST_SIZE = "share:cache:latest:12", 12  # the seed's key and size (contract 3.1)
STATS_KEY = "share:stats"  # the seed's key
TOTAL_KEY = "share:total:"
LATEST = TypeAdapter(Kept[tuple[Share, ...]])
TOTAL = TypeAdapter(Kept[Tally])
STATS = TypeAdapter(Kept[Stats])


@dataclass(frozen=True)
class Freshness:
    """How many seconds each kind of value is kept."""

    latest: float
    total: float
    stats: float


class CachedShares:
    """A ShareStore that asks the cache first.

    A change by this process shows at once. Another replica's change deletes the common keys; what a race between
    replicas lets slip through ends with the value's time.
    """

    def __init__(self, store: ShareStore, cache: Cache, freshness: Freshness, clock: Clock) -> None:
        self._store, self._cache = store, cache
        self._latest = Slot(LATEST, cache, freshness.latest, clock)
        self._totals = Slot(TOTAL, cache, freshness.total, clock)
        self._stats = Slot(STATS, cache, freshness.stats, clock)

    async def insert(self, given: Share, token_digest: str) -> Share:
        """Insert it; totals stay good, since newer shares are counted on top of them."""
        async with self._changing(self._latest, self._stats):
            return await self._store.insert(given, token_digest)

    async def find(self, share_id: str) -> Share | None:
        """Pass on: one row by its key needs no cache."""
        return await self._store.find(share_id)

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Pass on."""
        return await self._store.batch(share_ids)

    async def token_digest(self, share_id: str) -> str | None:
        """Pass on."""
        return await self._store.token_digest(share_id)

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """Pass on: a page is one short range of an index."""
        return await self._store.page(view, limit=limit, before=before, skip=skip)

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """Remember the size that every home page asks for."""
        if limit != LATEST_SIZE:
            return await self._store.latest(view, limit)
        return await self._latest.get(LATEST_KEY, lambda: self._store.latest(view, limit))

    async def tally(self, view: View, after: int = 0) -> Tally:
        """Remember a count, and count only what is newer."""
        if after:
            return await self._store.tally(view, after)
        old = await self._totals.get(_total_key(view), lambda: self._store.tally(view))
        new = await self._store.tally(view, old.sequence)
        return Tally(old.total + new.total, new.sequence)

    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Publish it, whereupon lists may show it."""
        async with self._changing(self._latest, self._totals, self._stats):
            return await self._store.publish(share_id, now_ms)

    async def delete(self, share_id: str) -> bool:
        """Delete it, whereupon no list shows it."""
        async with self._changing(self._latest, self._totals, self._stats):
            return await self._store.delete(share_id)

    async def stats(self, now_ms: int) -> Stats:
        """Remember the counts."""
        return await self._stats.get(STATS_KEY, lambda: self._store.stats(now_ms))

    @asynccontextmanager
    async def _changing(self, *slots: Slot[Any]) -> AsyncIterator[None]:
        """Whatever comes of a change, even no answer, it may have happened: no earlier value is believed after it."""
        try:
            yield
        finally:
            for slot in slots:
                slot.forget()
            await self._cache.delete(LATEST_KEY, STATS_KEY)


def _total_key(view: View) -> str:
    return TOTAL_KEY + hashlib.sha256(str(view).encode()).hexdigest()
