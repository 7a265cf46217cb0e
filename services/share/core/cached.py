"""Shares in transactions of their own, with a cache in front for the reads whose cost grows with their number.

A cached value carries the time at which it was read. One that was read before the last change of its source that this
process knows of, or before the process started, is invalid: so a late writer, or a cache that missed a deletion, cannot
bring a stale answer back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.chassis.cache import Cache
from services.chassis.clock import Clock
from services.chassis.database import Database, Transaction
from services.chassis.invalidation import EVERYTHING
from services.share.model import NEWEST, Facet, Share, ShareRecord, SitemapLink, Stats, View
from services.share.ports import ShareStore

# The names under which the original image site kept the same.
RECORD_KEY = "share:"
LIST_KEY = "share:list"
LIST_SIZE = 101  # the longest first page, and one share more, which tells whether another page follows
LATEST_KEY, LATEST_SIZE = "share:cache:latest:12", 12
STATS_KEY = "share:stats"
CREATED = "created "  # prefix of the notice of a new share, which invalidates lists but no record
MAX_CHANGES = 10_000  # keys whose last change is known one by one; values read before the oldest of them are invalid
P = ParamSpec("P")
T = TypeVar("T")
Announce = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class CacheLifetimes:
    """The lifetime of each kind of cached value, in seconds."""

    record: float
    list: float
    latest: float
    stats: float


class CachedShares:
    """Shares as the service reads and changes them: what ShareStore says, each in one transaction, the cache first.

    A change by this process shows at once. It deletes the common keys and is announced, so that other processes
    invalidate theirs in milliseconds; if a notice is lost, a stale value ends with its lifetime. Every method raises
    Unavailable when the database is away.
    """

    def __init__(
        self,
        database: Database,
        store: ShareStore,
        cache: Cache,
        lifetimes: CacheLifetimes,
        *,
        clock: Clock,
        announce: Announce,
    ) -> None:
        self._database, self._store, self._cache = database, store, cache
        self._clock, self._announce = clock, announce
        self._changes: set[asyncio.Task[Any]] = set()
        self._records = _CachedValues(TypeAdapter(_CachedValue[Share]), cache, lifetimes.record, clock)
        self._list = _CachedValues(TypeAdapter(_CachedValue[tuple[str, ...]]), cache, lifetimes.list, clock)
        self._latest = _CachedValues(TypeAdapter(_CachedValue[tuple[Share, ...]]), cache, lifetimes.latest, clock)
        self._stats = _CachedValues(TypeAdapter(_CachedValue[Stats]), cache, lifetimes.stats, clock)

    def invalidate(self, notice: str) -> None:
        """Invalidate the values that a change by any process has made stale."""
        for values in (self._list, self._latest, self._stats):
            values.invalidate_all()
        if notice.startswith(CREATED):
            return
        if notice == EVERYTHING:
            self._records.invalidate_all()
        else:
            self._records.invalidate_key(RECORD_KEY + notice)

    async def aclose(self) -> None:
        """Wait until every change that was begun has ended, its invalidation included."""
        while self._changes:
            await asyncio.wait(self._changes)

    async def insert(self, given: Share, token_digest: str) -> Share:
        """Insert the share and invalidate the lists."""
        return await self._change([CREATED + given.id], self._store.insert, given, token_digest)

    async def find(self, share_id: str) -> Share | None:
        """Read one share, from the cache if possible."""
        return (await self.batch([share_id])).get(share_id)

    async def batch(self, share_ids: Sequence[str]) -> dict[str, Share]:
        """Read the shares that are not cached in one query."""
        known = await self._records.get_valid([RECORD_KEY + share_id for share_id in share_ids])
        found = {share.id: share for share in known.values()}
        if missing := [share_id for share_id in share_ids if share_id not in found]:
            read_ms = self._clock()
            read = await self._database.read(self._store.batch, missing)
            await self._records.put({RECORD_KEY + each.id: each for each in read.values()}, read_ms)
            found |= read
        return found

    async def token_digest(self, share_id: str) -> str | None:
        """Not cached: the digest of a secret."""
        return await self._database.read(self._store.token_digest, share_id)

    async def page(self, view: View, *, limit: int, before: int = NEWEST, skip: int = 0) -> tuple[Share, ...]:
        """Cache the ids of the longest first page; any other page is one short range of an index."""
        end = skip + limit
        if before == NEWEST and end <= LIST_SIZE and view.facet is Facet.NONE:
            ids = (await self._list.get(LIST_KEY, lambda: self._newest(view), str(view)))[skip:end]
            found = await self.batch(ids)
            if len(found) == len(ids):  # else one was deleted meanwhile
                return tuple(found[share_id] for share_id in ids)
        return await self._database.read(self._store.page, view, limit=limit, before=before, skip=skip)

    async def latest(self, view: View, limit: int) -> tuple[Share, ...]:
        """Cache the size that every home page asks for."""
        if limit != LATEST_SIZE:
            return await self._database.read(self._store.latest, view, limit)
        return await self._latest.get(
            LATEST_KEY, lambda: self._database.read(self._store.latest, view, limit), str(view)
        )

    async def total(self, view: View) -> int:
        """Not cached: a few rows of an index."""
        return await self._database.read(self._store.total, view)

    async def links(self, view: View, after: int, until: int) -> tuple[SitemapLink, ...]:
        """Not cached: crawlers come rarely, and read all blocks."""
        return await self._database.read(self._store.links, view, after, until)

    async def last_sequence(self, view: View) -> int:
        """Not cached."""
        return await self._database.read(self._store.last_sequence, view)

    async def publish(self, share_id: str, now_ms: int) -> Share | None:
        """Publish the share and invalidate the lists."""
        return await self._change([share_id], self._store.publish, share_id, now_ms)

    async def delete(self, share_id: str) -> bool:
        """Delete the share and invalidate the lists."""
        return await self._change([share_id], self._store.delete, share_id)

    async def records(self, after: int, limit: int) -> tuple[ShareRecord, ...]:
        """Not cached: operators read all of them once."""
        return await self._database.read(self._store.records, after, limit)

    async def restore(self, record: ShareRecord) -> tuple[bool, Share | None]:
        """Restore the share and invalidate the lists."""
        return await self._change([CREATED + record.share.id], self._store.restore, record)

    async def expire(self, before_ms: int, limit: int) -> tuple[str, ...]:
        """Delete the shares and invalidate each."""
        expired: list[str] = []

        def expire(transaction: Transaction) -> tuple[str, ...]:
            expired[:] = self._store.expire(transaction, before_ms, limit)
            return tuple(expired)

        return await self._change(expired, expire)

    async def reconcile(self) -> int:
        """Compare in a transaction that only reads, which blocks nobody; write only if there is drift.

        Not cached: no cached value depends on the counts for long.
        """
        if not await self._database.read(self._store.has_drift):
            return 0
        return await self._database.write(self._store.reconcile)

    async def stats(self, now_ms: int) -> Stats:
        """Cache the counts."""
        return await self._stats.get(STATS_KEY, lambda: self._database.read(self._store.stats, now_ms))

    async def _newest(self, view: View) -> tuple[str, ...]:
        return tuple(share.id for share in await self._database.read(self._store.page, view, limit=LIST_SIZE))

    async def _change(
        self,
        notices: Sequence[str],
        function: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Make a change and invalidate, in a task of its own: when its caller leaves, both happen all the same."""
        change = asyncio.create_task(self._invalidating(notices, function, *args, **kwargs))
        self._changes.add(change)
        change.add_done_callback(self._ended)
        return await asyncio.shield(change)

    def _ended(self, change: "asyncio.Task[Any]") -> None:
        """Forget a task; its exception was raised at its caller, unless that had left."""
        self._changes.discard(change)
        if not change.cancelled():
            change.exception()

    async def _invalidating(
        self,
        notices: Sequence[str],
        function: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Invalidate after a change, also after an error: whether it was committed may not be known."""
        try:
            return await self._database.write(function, *args, **kwargs)
        finally:
            for notice in notices:
                await self._changed(notice)

    async def _changed(self, notice: str) -> None:
        self.invalidate(notice)
        await self._cache.delete(RECORD_KEY + notice.removeprefix(CREATED), LIST_KEY, LATEST_KEY, STATS_KEY)
        await self._announce(notice)


@dataclass(frozen=True)
class _CachedValue(Generic[T]):
    """A cached value, the time at which it was read, and its list where one key serves several."""

    value: T
    read_ms: int
    of: str = ""


class _CachedValues(Generic[T]):
    """Cached values of one kind, stored as JSON for so many seconds."""

    def __init__(self, kind: TypeAdapter[_CachedValue[T]], cache: Cache, seconds: float, clock: Clock) -> None:
        self._kind, self._cache, self._seconds, self._clock = kind, cache, seconds, clock
        self._all_changed_ms = clock()
        self._changed_ms: dict[str, int] = {}

    def invalidate_all(self) -> None:
        """Invalidate all values."""
        self._all_changed_ms = self._clock()
        self._changed_ms.clear()

    def invalidate_key(self, key: str) -> None:
        """Invalidate the value of one key."""
        self._changed_ms.pop(key, None)  # a key that changes again is the newest
        self._changed_ms[key] = self._clock()
        if len(self._changed_ms) > MAX_CHANGES:
            oldest = self._changed_ms.pop(next(iter(self._changed_ms)))
            self._all_changed_ms = max(self._all_changed_ms, oldest)

    async def get(self, key: str, read: Callable[[], Awaitable[T]], of: str = "") -> T:
        """The cached value, or the one that `read` returns, which is cached unless it is empty."""
        if known := await self.get_valid([key], of):
            return known[key]
        read_ms = self._clock()
        found = await read()
        if found:
            await self.put({key: found}, read_ms, of)
        return found

    async def get_valid(self, keys: Sequence[str], of: str = "") -> dict[str, T]:
        """The valid cached values of these keys."""
        values = map(self._decoded, await self._cache.get_many(keys))
        return {
            key: kept.value for key, kept in zip(keys, values, strict=True) if kept and self._is_valid(key, kept, of)
        }

    async def put(self, values: Mapping[str, T], read_ms: int, of: str = "") -> None:
        """Cache values that were read at a time."""
        written = {key: self._kind.dump_json(_CachedValue(value, read_ms, of)) for key, value in values.items()}
        await self._cache.set_many(written, self._seconds)

    def _is_valid(self, key: str, kept: _CachedValue[T], of: str) -> bool:
        changed_ms = max(self._all_changed_ms, self._changed_ms.get(key, 0))
        return kept.of == of and changed_ms < kept.read_ms <= self._clock()

    def _decoded(self, data: bytes | None) -> _CachedValue[T] | None:
        """The decoded value; None when another version or another program has written it."""
        try:
            return None if data is None else self._kind.validate_json(data)
        except ValidationError:
            return None
