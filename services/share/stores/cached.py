"""Puts a cache before another store, for what would cost more as shares grow in number; every answer stays the same."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import TypeAdapter

from services.chassis.bulletin import EVERYTHING
from services.chassis.cache import Cache
from services.chassis.unbroken import kept_running
from services.share.model import NEWEST, Facet, Link, Record, Share, Stats, View
from services.share.ports import Clock, ShareStore
from services.share.stores.slot import Kept, Slot

# The names under which the original image site kept the same.
RECORD_KEY = "share:"
LIST_KEY, LIST_SIZE = "share:list", 101  # the longest first page, and the one share that tells whether another follows
LATEST_KEY, LATEST_SIZE = "share:cache:latest:12", 12
STATS_KEY = "share:stats"
CREATED = "created "  # begins the notice of a new share, which changes lists but no record
RECORD = TypeAdapter(Kept[Share])
IDS = TypeAdapter(Kept[tuple[str, ...]])
LATEST = TypeAdapter(Kept[tuple[Share, ...]])
STATS = TypeAdapter(Kept[Stats])

Announce = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Freshness:
    """How many seconds each kind of value is kept."""

    record: float
    list: float
    latest: float
    stats: float


class CachedShares:
    """A ShareStore that asks the cache first.

    A change by this process shows at once. It deletes the common keys and is announced, so that other processes hear
    of it in milliseconds; what a lost notice lets slip through ends with the value's time.
    """

    def __init__(self, store: ShareStore, cache: Cache, freshness: Freshness, clock: Clock, announce: Announce) -> None:
        self._store, self._cache, self._clock, self._announce = store, cache, clock, announce
        self._records = Slot(RECORD, cache, freshness.record, clock)
        self._list = Slot(IDS, cache, freshness.list, clock)
        self._latest = Slot(LATEST, cache, freshness.latest, clock)
        self._stats = Slot(STATS, cache, freshness.stats, clock)

    def hear(self, notice: str) -> None:
        """Believe nothing that a change by any process has made old."""
        for slot in (self._list, self._latest, self._stats):
            slot.forget()
        if notice.startswith(CREATED):
            return
        if notice == EVERYTHING:
            self._records.forget()
        else:
            self._records.forget_one(RECORD_KEY + notice)

    @kept_running
    async def insert(self, given: Share, token_digest: str) -> Share:
        """Insert it, whereupon lists may show it."""
        async with self._changing(CREATED + given.id):
            return await self._store.insert(given, token_digest)

    async def find(self, share_id: str) -> Share | None:
        """Remember it."""
        return (await self.batch([share_id])).get(share_id)

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Read what is not remembered in one query."""
        known = await self._records.recall([RECORD_KEY + share_id for share_id in share_ids])
        found = {share.id: share for share in known.values()}
        if missing := [share_id for share_id in share_ids if share_id not in found]:
            read_ms = self._clock()
            read = await self._store.batch(missing)
            await self._records.keep({RECORD_KEY + each.id: each for each in read.values()}, read_ms)
            found |= read
        return found

    async def token_digest(self, share_id: str) -> str | None:
        """Pass on: a secret's digest has no place in a cache."""
        return await self._store.token_digest(share_id)

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """Remember the ids of the longest first page; any other page is one short range of an index."""
        end = skip + limit
        if before == NEWEST and end <= LIST_SIZE and view.facet is Facet.NONE:
            ids = (await self._list.get(LIST_KEY, lambda: self._newest(view), str(view)))[skip:end]
            found = await self.batch(ids)
            if len(found) == len(ids):  # else one was deleted since
                return tuple(found[share_id] for share_id in ids)
        return await self._store.page(view, limit=limit, before=before, skip=skip)

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """Remember the size that every home page asks for."""
        if limit != LATEST_SIZE:
            return await self._store.latest(view, limit)
        return await self._latest.get(LATEST_KEY, lambda: self._store.latest(view, limit), str(view))

    async def total(self, view: View) -> int:
        """Pass on: a few rows of an index."""
        return await self._store.total(view)

    async def links(self, view: View, after: int, until: int) -> tuple[Link, ...]:
        """Pass on: crawlers come rarely, and ask for all of them."""
        return await self._store.links(view, after, until)

    async def last_sequence(self, view: View) -> int:
        """Pass on."""
        return await self._store.last_sequence(view)

    @kept_running
    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Publish it, whereupon lists may show it."""
        async with self._changing(share_id):
            return await self._store.publish(share_id, now_ms)

    @kept_running
    async def delete(self, share_id: str) -> bool:
        """Delete it, whereupon no list shows it."""
        async with self._changing(share_id):
            return await self._store.delete(share_id)

    async def records(self, after: int, limit: int) -> tuple[Record, ...]:
        """Pass on: operators read all of them once."""
        return await self._store.records(after, limit)

    @kept_running
    async def restore(self, record: Record) -> tuple[bool, Share | None]:
        """Restore it, whereupon lists may show it."""
        async with self._changing(CREATED + record.share.id):
            return await self._store.restore(record)

    @kept_running
    async def expire(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete them and forget each."""
        expired = await self._store.expire(before_ms, limit)
        for share_id in expired:
            await self._changed(share_id)
        return expired

    async def reconcile(self) -> int:
        """Nothing that is remembered follows from the counts for long."""
        return await self._store.reconcile()

    async def stats(self, now_ms: int) -> Stats:
        """Remember the counts."""
        return await self._stats.get(STATS_KEY, lambda: self._store.stats(now_ms))

    async def _newest(self, view: View) -> tuple[str, ...]:
        return tuple(share.id for share in await self._store.page(view, limit=LIST_SIZE))

    @asynccontextmanager
    async def _changing(self, notice: str) -> AsyncIterator[None]:
        """Whatever comes of a change, even no answer, it may have happened: no earlier value is believed after it."""
        try:
            yield
        finally:
            await self._changed(notice)

    async def _changed(self, notice: str) -> None:
        self.hear(notice)
        await self._cache.delete(RECORD_KEY + notice.removeprefix(CREATED), LIST_KEY, LATEST_KEY, STATS_KEY)
        await self._announce(notice)
