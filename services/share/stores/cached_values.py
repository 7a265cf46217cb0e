"""Caches one kind of derived value, and decides whether a cached value is still valid.

A value carries the time at which it was read. One that was read before the last change of its source that this process
knows of, or before the process started, is invalid: so a late writer, or a cache that missed a deletion, cannot bring
a stale answer back.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.chassis.cache import Cache
from services.share.ports import Clock

MAX_CHANGES = 10_000  # keys whose last change is known one by one; values read before the oldest of them are invalid
T = TypeVar("T")


@dataclass(frozen=True)
class CachedValue(Generic[T]):
    """A cached value, the time at which it was read, and its list where one key serves several."""

    value: T
    read_ms: int
    of: str = ""


class CachedValues(Generic[T]):
    """Cached values of one kind, stored as JSON for so many seconds."""

    def __init__(self, kind: TypeAdapter[CachedValue[T]], cache: Cache, seconds: float, clock: Clock) -> None:
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
        written = {key: self._kind.dump_json(CachedValue(value, read_ms, of)) for key, value in values.items()}
        await self._cache.set_many(written, self._seconds)

    def _is_valid(self, key: str, kept: CachedValue[T], of: str) -> bool:
        changed_ms = max(self._all_changed_ms, self._changed_ms.get(key, 0))
        return kept.of == of and changed_ms < kept.read_ms <= self._clock()

    def _decoded(self, data: bytes | None) -> CachedValue[T] | None:
        """The decoded value; None when another version or another program has written it."""
        try:
            return None if data is None else self._kind.validate_json(data)
        except ValidationError:
            return None
