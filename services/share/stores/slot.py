"""Remembers one kind of derived value in the cache, and says when a remembered value is not to be believed.

A value carries the time it was read. One read before this process last changed what it derives from, or before the
process started, is not believed: so a late writer, or a cache that missed a deletion, cannot bring an old answer back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.chassis.cache import Cache
from services.share.ports import Clock

T = TypeVar("T")


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A value and when it was read."""

    value: T
    read_ms: int


class Slot(Generic[T]):
    """Values of one kind, kept as JSON for so many seconds."""

    def __init__(self, kind: TypeAdapter[Kept[T]], cache: Cache, seconds: float, clock: Clock) -> None:
        self._kind, self._cache, self._seconds, self._clock = kind, cache, seconds, clock
        self._changed_ms = clock()

    def forget(self) -> None:
        """Believe nothing that was read until now."""
        self._changed_ms = self._clock()

    async def get(self, key: str, read: Callable[[], Awaitable[T]]) -> T:
        """The remembered value, or the one that `read` finds; an empty one is not remembered."""
        kept = self._decoded(await self._cache.get(key))
        if kept and self._changed_ms < kept.read_ms <= self._clock():
            return kept.value
        found = Kept(read_ms=self._clock(), value=await read())
        if found.value:
            await self._cache.set(key, self._kind.dump_json(found), self._seconds)
        return found.value

    def _decoded(self, data: bytes | None) -> Kept[T] | None:
        """The value, unless it is not ours: another version or another program may have written it."""
        try:
            return None if data is None else self._kind.validate_json(data)
        except ValidationError:
            return None
