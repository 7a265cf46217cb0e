"""What can be read faster, and made again from the rows at any time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Look:
    """What a read model holds: its members, or None when it is not to be believed; and the epoch to write it anew at.

    The epoch is empty while there is nobody to write to.
    """

    members: tuple[str, ...] | None
    epoch: bytes


class ReadModels(Protocol):
    """Lists, sets and numbers by key, shared by the replicas; derived state only. No method raises."""

    written: int
    """Keys that were written anew until now."""

    async def list(self, key: str, count: int) -> Look:
        """The first members of a list."""

    async def ranking(self, key: str, count: int) -> Look:
        """The members of a ranking with the highest scores."""

    async def put_list(self, key: str, members: Sequence[str], epoch: bytes) -> None:
        """Write a list anew, as read at an epoch."""

    async def put_ranking(self, key: str, scores: dict[str, float], epoch: bytes) -> None:
        """Write a ranking anew, as read at an epoch."""

    async def put_set(self, key: str, members: Sequence[str]) -> None:
        """Write a set anew."""

    async def put_number(self, key: str, number: int) -> None:
        """Write a number."""

    async def score(self, key: str, member: str, score: float) -> None:
        """Give a member of a ranking another score, and begin another epoch."""

    async def member(self, key: str, member: str, *, there: bool) -> bool:
        """Put a member into a set, or take it out; False when the set is missing and can be written."""

    async def forget(self, *keys: str) -> None:
        """Begin another epoch: what was read until now is believed no more."""


class Rebuilder(Protocol):
    """Writes read models anew from the rows; each call says how many keys it wrote."""

    async def common(self) -> int:
        """The feed and the ranking."""

    async def of_user(self, user_id: str) -> int:
        """A person's list and set, and the likes of their artworks."""
