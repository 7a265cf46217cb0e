"""Remembers one kind of derived value in the cache, and says when a remembered value is not to be believed.

A value carries the time it was read. One read before what it derives from last changed, as far as this process knows,
or before the process started, is not believed: so a late writer, or a cache that missed a deletion, cannot bring an
old answer back.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.chassis.cache import Cache
from services.share.ports import Clock

MAX_CHANGES = 10_000  # keys whose last change is known one by one; before the oldest of them nothing is believed
T = TypeVar("T")


@dataclass(frozen=True)
class Kept(Generic[T]):
    """A value, when it was read, and what it was read of where one key serves several."""

    value: T
    read_ms: int
    of: str = ""


class Slot(Generic[T]):
    """Values of one kind, kept as JSON for so many seconds."""

    def __init__(self, kind: TypeAdapter[Kept[T]], cache: Cache, seconds: float, clock: Clock) -> None:
        self._kind, self._cache, self._seconds, self._clock = kind, cache, seconds, clock
        self._all_changed_ms = clock()
        self._changed_ms: dict[str, int] = {}

    def forget(self) -> None:
        """Believe nothing that was read until now."""
        self._all_changed_ms = self._clock()
        self._changed_ms.clear()

    def forget_one(self, key: str) -> None:
        """Believe nothing under this key that was read until now."""
        self._changed_ms.pop(key, None)  # a key that changes again is the newest
        self._changed_ms[key] = self._clock()
        if len(self._changed_ms) > MAX_CHANGES:
            oldest = self._changed_ms.pop(next(iter(self._changed_ms)))
            self._all_changed_ms = max(self._all_changed_ms, oldest)

    async def get(self, key: str, read: Callable[[], Awaitable[T]], of: str = "") -> T:
        """The remembered value, or the one that `read` finds; an empty one is not remembered."""
        if known := await self.recall([key], of):
            return known[key]
        read_ms = self._clock()
        found = await read()
        if found:
            await self.keep({key: found}, read_ms, of)
        return found

    async def recall(self, keys: Sequence[str], of: str = "") -> dict[str, T]:
        """Those of the remembered values that are to be believed."""
        values = map(self._decoded, await self._cache.get_many(keys))
        return {key: kept.value for key, kept in zip(keys, values, strict=True) if kept and self._holds(key, kept, of)}

    async def keep(self, values: Mapping[str, T], read_ms: int, of: str = "") -> None:
        """Remember values that were asked for at this time."""
        written = {key: self._kind.dump_json(Kept(value, read_ms, of)) for key, value in values.items()}
        await self._cache.set_many(written, self._seconds)

    def _holds(self, key: str, kept: Kept[T], of: str) -> bool:
        changed_ms = max(self._all_changed_ms, self._changed_ms.get(key, 0))
        return kept.of == of and changed_ms < kept.read_ms <= self._clock()

    def _decoded(self, data: bytes | None) -> Kept[T] | None:
        """The value, unless it is not ours: another version or another program may have written it."""
        try:
            return None if data is None else self._kind.validate_json(data)
        except ValidationError:
            return None
