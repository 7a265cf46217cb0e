"""What keeps people, and which bytes are to be removed."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import Claims, Deletion, Entry, Erasure, Person, Report


class PeopleStore(Protocol):
    """Keeps people."""

    async def ensure(self, user_id: str, claims: Claims, issue_ms: int = 0) -> Person:
        """Keep a person; claims that are not empty replace what was known.

        Raises:
            Unauthenticated: they were erased, and their token was not issued later (reason ACCOUNT_ERASED).
        """

    async def find(self, user_id: str) -> Person | None:
        """The person with this id."""

    async def privacy(self, user_id: str, *, hide_name: bool | None, hide_email: bool | None) -> Person | None:
        """Set what is not None."""

    async def batch(self, after_id: str, limit: int) -> tuple[str, ...]:
        """Ids of people, in order, behind an id."""

    async def objects(self, user_id: str) -> tuple[str, ...]:
        """Keys of the bytes that are this person's."""

    async def entries(self, user_id: str) -> tuple[Entry, ...]:
        """Their ledger, in order."""

    async def reports(self, user_id: str) -> tuple[Report, ...]:
        """What they reported."""

    async def erase(self, user_id: str, erasure_id: str) -> Erasure:
        """Forget a person and everything of theirs, and discard their bytes; others' counts follow."""

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """A receipt."""


class Bin(Protocol):
    """The deletion queue: what storage is to delete and generation to forget, until they have."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Deletion]:
        """Entries that are due, DELETING from now on. Nobody gets them again for so long."""

    async def empty(self, deletion: Deletion) -> None:
        """It is gone. An object's key is remembered for a while, so that nobody refers to it."""

    async def postpone(self, deletion: Deletion, seconds: float) -> None:
        """Let an entry be due after so many seconds."""

    async def purge(self) -> int:
        """Forget some of the keys that were remembered long enough; how many."""
