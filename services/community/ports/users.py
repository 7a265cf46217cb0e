"""The ports of users and of the deletion queue."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import Claims, Entry, Erasure, QueuedDeletion, Report, User


class UserStore(Protocol):
    """Stores users."""

    async def ensure(self, user_id: str, claims: Claims, issue_ms: int = 0) -> User:
        """Insert or update a user; claims that are not empty replace stored ones.

        Raises:
            Unauthenticated: the user was erased, and the token was not issued later (reason ACCOUNT_ERASED).
        """

    async def find(self, user_id: str) -> User | None:
        """The user with this id."""

    async def privacy(self, user_id: str, *, hide_name: bool | None, hide_email: bool | None) -> User | None:
        """Set the fields that are not None."""

    async def batch(self, after_id: str, limit: int) -> tuple[str, ...]:
        """Ids of users after an id, in order."""

    async def objects(self, user_id: str) -> tuple[str, ...]:
        """Keys of the objects that a user owns."""

    async def entries(self, user_id: str) -> tuple[Entry, ...]:
        """The ledger entries of a user, in order."""

    async def reports(self, user_id: str) -> tuple[Report, ...]:
        """The reports of a user."""

    async def erase(self, user_id: str, erasure_id: str) -> Erasure:
        """Erase a user with all their data, and queue their objects for deletion; counts of others are adjusted."""

    async def erasure(self, erasure_id: str) -> Erasure | None:
        """The receipt of an erasure."""


class DeletionQueue(Protocol):
    """The deletion queue: objects for storage to delete and generations to forget."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[QueuedDeletion]:
        """Lease entries that are due, which are DELETING from now on; no other caller gets them for lease_seconds."""

    async def complete(self, deletion: QueuedDeletion) -> None:
        """Note that a deletion is done. An object's key is kept for a while, so that nobody refers to it again."""

    async def postpone(self, deletion: QueuedDeletion, seconds: float) -> None:
        """Make an entry due after so many seconds."""

    async def purge(self) -> int:
        """Delete a batch of old entries of deleted objects; returns their number."""
