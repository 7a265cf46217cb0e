"""The ports of the read models, which are derived from the rows and can be rebuilt at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class CachedMembers:
    """The members of a read model, None when it is missing or stale, and the epoch with which to write it.

    The epoch is empty while Redis is unavailable.
    """

    members: tuple[str, ...] | None
    epoch: bytes


class ReadModels(Protocol):
    """Lists, rankings, sets and numbers by key, shared by the replicas; derived state only. No method raises."""

    written: int
    """The number of keys written until now."""

    async def list(self, key: str, count: int) -> CachedMembers:
        """The first members of a list."""

    async def ranking(self, key: str, count: int) -> CachedMembers:
        """The members of a ranking with the highest scores."""

    async def put_list(self, key: str, members: Sequence[str], epoch: bytes) -> None:
        """Write a list that was read at an epoch."""

    async def put_ranking(self, key: str, scores: dict[str, float], epoch: bytes) -> None:
        """Write a ranking that was read at an epoch."""

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write a set."""

    async def put_number(self, key: str, number: int) -> None:
        """Write a number."""

    async def score(self, key: str, member: str, score: float) -> None:
        """Set the score of a ranking's member, and begin a new epoch."""

    async def member(self, key: str, member: str, *, there: bool) -> bool:
        """Add or remove a member of a set; False when the set is missing and can be written."""

    async def forget(self, *keys: str) -> None:
        """Invalidate keys by beginning a new epoch."""


class Rebuilder(Protocol):
    """Rebuilds read models from the rows; each method returns the number of keys written."""

    async def common(self) -> int:
        """The feed and the ranking."""

    async def of_user(self, user_id: str) -> int:
        """The list and the set of a user, and the likes of their artworks."""
