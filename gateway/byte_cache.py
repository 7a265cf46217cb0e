"""Keeps rendered answers in this process for a moment: reading them again costs nothing, and all can go at once."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from prometheus_client import Counter

OVERHEAD_BYTES = 2048  # what an answer takes beside its body: key, headers, table entries

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was sent, without what belongs to one request alone."""

    headers: Headers
    body: bytes
    etag: bytes
    served: Counter
    """Counts the times it is given again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer and the monotonic second at which it is no longer given."""

    answer: Answer
    end: float


@dataclass
class ByteCache:
    """Answers by key, for `seconds` each and at most `max_bytes` in all; the oldest goes first."""

    seconds: float
    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    epoch: int = 0
    """Grows with each clear(); an answer that was begun in an older epoch is not kept."""
    _entries: dict[Hashable, Entry] = field(default_factory=dict)
    _bytes: int = 0

    def get(self, key: Hashable) -> Answer | None:
        """The answer while it is fresh."""
        entry = self._entries.get(key)
        return entry.answer if entry and entry.end > self.clock() else None

    def put(self, key: Hashable, answer: Answer, epoch: int) -> None:
        """Keep an answer that was begun in an epoch."""
        if not self.seconds or epoch != self.epoch:
            return
        self._drop(key)
        self._entries[key] = Entry(answer, self.clock() + self.seconds)
        self._bytes += size_of(answer)
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything, and what is on its way."""
        self.epoch += 1
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: Hashable) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= size_of(entry.answer)


def size_of(answer: Answer) -> int:
    """How many bytes keeping an answer takes, roughly."""
    return len(answer.body) + OVERHEAD_BYTES
