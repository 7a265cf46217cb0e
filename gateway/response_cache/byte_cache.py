"""A bounded cache of rendered responses in this process, each kept for a moment; all can be dropped at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter

OVERHEAD_BYTES = 2048  # what an answer takes beside its bytes: objects, table entries
PART_BYTES = 64  # what each text of a key and of a header takes beside its characters

Headers = list[tuple[bytes, bytes]]
Key = tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it was sent, without the header that belongs to one request alone."""

    headers: Headers
    body: bytes
    etag: bytes
    served: Counter
    """Counts how often it is served from the cache."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A response, the monotonic second at which it expires, and the bytes that keeping it takes."""

    answer: Answer
    end: float
    size: int


@dataclass
class ByteCache:
    """Answers by key, for `seconds` each and at most `max_bytes` with keys and headers; the oldest goes first.

    All live equally long, so the oldest is also the first to expire: each call drops those whose time is over.
    """

    seconds: float
    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    epoch: int = 0
    """Grows with each clear(); an answer that was begun in an older epoch is not kept."""
    _entries: dict[Key, Entry] = field(default_factory=dict)
    _bytes: int = 0

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Answer | None:
        """The answer while it is fresh."""
        self._expire()
        entry = self._entries.get(key)
        return entry.answer if entry else None

    def put(self, key: Key, answer: Answer, epoch: int) -> None:
        """Keep an answer that was begun in an epoch, unless it alone is beyond the bound."""
        self._expire()
        size = size_of(key, answer)
        if not self.seconds or epoch != self.epoch or size > self.max_bytes:
            return
        self._drop(key)
        while self._bytes + size > self.max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = Entry(answer, self.clock() + self.seconds, size)
        self._bytes += size

    def clear(self) -> None:
        """Drop everything, also responses that are being made now."""
        self.epoch += 1
        self._entries.clear()
        self._bytes = 0

    def _expire(self) -> None:
        now = self.clock()
        while self._entries:
            key = next(iter(self._entries))
            if self._entries[key].end > now:
                return
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= entry.size


def size_of(key: Key, answer: Answer) -> int:
    """How many bytes keeping an answer takes, roughly."""
    parts = [*key, *(part for header in answer.headers for part in header), answer.body, answer.etag]
    return OVERHEAD_BYTES + sum(len(part) + PART_BYTES for part in parts)
