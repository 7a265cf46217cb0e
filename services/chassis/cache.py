"""The cache port: derived state only, in Redis or in the process; without it answers are the same, only slower."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from heapq import heapify, heappop, heappush
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

CACHE_BUDGET_SECONDS = 0.1  # a slower answer is no longer worth waiting for
RETRY_AFTER_SECONDS = 1.0  # after a failure the cache is left alone for so long
MAX_LOCAL_ENTRIES = 10_000  # of the in-process cache: more is work for Redis
MAX_LOCAL_BYTES = (
    32 * 1024 * 1024
)  # of the in-process cache, keys and all: a part of a small process's memory, many times what is used
ENTRY_BYTES = 320  # what a value takes beside its characters: two objects, two tuples, places in a table and a heap

logger = structlog.get_logger()


class Cache(Protocol):
    """Bytes by key, for a time. Nothing kept here may be needed to answer rightly; no method raises."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None when it is not there or the cache is away."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of several keys, in their order, asked for at once."""

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for so many seconds, whatever its key held before."""

    async def set_many(self, values: Mapping[str, bytes], seconds: float) -> None:
        """Keep several values for so many seconds, sent at once."""

    async def delete(self, *keys: str) -> None:
        """Forget values."""


class LocalCache:
    """A cache of this process alone, within MAX_LOCAL_ENTRIES and MAX_LOCAL_BYTES; the oldest value goes first.

    A value whose time is over is dropped by the next call, whatever that asks for: `_ends` has the values by their end,
    besides some that were replaced or deleted since.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[float, bytes]] = {}
        self._ends: list[tuple[float, str]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes are kept, roughly."""
        return self._bytes

    async def get(self, key: str) -> bytes | None:
        """The value while it is fresh."""
        self._expire()
        _, value = self._entries.get(key, (0.0, None))
        return value

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values that are fresh."""
        return [await self.get(key) for key in keys]

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value, dropping the oldest beyond the bounds; one that alone is beyond them is not kept."""
        self._expire()
        self._drop(key)
        size = _size_of(key, value)
        if size > MAX_LOCAL_BYTES:
            return
        while len(self._entries) >= MAX_LOCAL_ENTRIES or self._bytes + size > MAX_LOCAL_BYTES:
            self._drop(next(iter(self._entries)))
        end = self._clock() + seconds
        self._entries[key] = (end, value)
        self._bytes += size
        heappush(self._ends, (end, key))
        if len(self._ends) > 2 * MAX_LOCAL_ENTRIES:  # most are of values that are gone
            self._ends = [(end, key) for key, (end, _) in self._entries.items()]
            heapify(self._ends)

    async def set_many(self, values: Mapping[str, bytes], seconds: float) -> None:
        """Keep values."""
        for key, value in values.items():
            await self.set(key, value, seconds)

    async def delete(self, *keys: str) -> None:
        """Forget values."""
        for key in keys:
            self._drop(key)

    def _expire(self) -> None:
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            end, key = heappop(self._ends)
            if key in self._entries and self._entries[key][0] == end:
                self._drop(key)

    def _drop(self, key: str) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= _size_of(key, entry[1])


def _size_of(key: str, value: bytes) -> int:
    return ENTRY_BYTES + len(key) + len(value)


class RedisCache:
    """A cache that the replicas share. After a failure Redis is not asked for RETRY_AFTER_SECONDS."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._away_until = 0.0

    async def get(self, key: str) -> bytes | None:
        """The value, unless Redis is away."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """One MGET: to it a key of another type is simply missing, and setting the key anew heals it."""
        if not keys or self._away():
            return [None] * len(keys)
        try:
            values = await self._redis.mget(keys)
        except (RedisError, OSError) as error:
            self._back_off(error)
            return [None] * len(keys)
        return [value if isinstance(value, bytes) else None for value in values]

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value, unless Redis is away."""
        await self.set_many({key: value}, seconds)

    async def set_many(self, values: Mapping[str, bytes], seconds: float) -> None:
        """Keep values in one round trip, unless Redis is away."""
        if not values or self._away():
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in values.items():
            pipeline.set(key, value, px=int(seconds * 1000))
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            self._back_off(error)

    async def delete(self, *keys: str) -> None:
        """Forget values; tried even when Redis seems away, since a stale value may be worse than a wait."""
        if not keys:  # Redis calls that an error
            return
        try:
            await self._redis.delete(*keys)
        except (RedisError, OSError) as error:
            self._back_off(error)

    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _back_off(self, error: Exception) -> None:
        self._away_until = time.monotonic() + RETRY_AFTER_SECONDS
        logger.warning("cache_away", cause=type(error).__name__)


@asynccontextmanager
async def open_cache(redis_url: str) -> AsyncIterator[Cache]:
    """The cache at a Redis URL, or this process's own when the URL is empty."""
    if not redis_url:
        yield LocalCache()
        return
    redis = Redis.from_url(redis_url, socket_timeout=CACHE_BUDGET_SECONDS, socket_connect_timeout=CACHE_BUDGET_SECONDS)
    try:
        yield RedisCache(redis)
    finally:
        await redis.aclose()
