"""Chance that is no chance: numbers from a hash, the same on every machine and in every version of Python."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

SPAN = 1 << 32


class Dice:
    """Throws in a fixed order; each part of a picture has dice of its own, so that parts do not shift each other."""

    def __init__(self, seed: str, part: str) -> None:
        self._seed = f"{seed}/{part}"
        self._thrown = 0

    def unit(self) -> float:
        """A number from 0 up to 1."""
        self._thrown += 1
        digest = hashlib.sha256(f"{self._seed}/{self._thrown}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / SPAN

    def between(self, low: float, high: float) -> float:
        """A number from low up to high."""
        return low + (high - low) * self.unit()

    def count(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def pick(self, things: Sequence[T]) -> T:
        """One of the things."""
        return things[int(self.unit() * len(things))]
