"""The port of the callback inbox: verified callbacks, and reminders, until they are processed."""

from collections.abc import Sequence
from typing import Protocol

from services.generation.model import Callback


class Inbox(Protocol):
    """Callbacks, and our own reminders, until they are processed. Every method may raise errors.Unavailable."""

    async def add(self, callback: Callback) -> bool:
        """Store a callback; False when the same (attempt, task, code) is stored already.

        A repetition opens a closed callback again, unless its verdict is settled: done, delivered, extra or recorded.
        """

    async def open_without_token(self) -> int:
        """How many open callbacks came without a token."""

    async def open_with_token_of(self, attempt_id: str) -> int:
        """How many open callbacks came with an attempt's token."""

    async def take(self, limit: int) -> Sequence[Callback]:
        """Open callbacks that are due, oldest first: leased for some seconds, tries + 1."""

    async def finish(self, callback: Callback, verdict: str) -> None:
        """Close a callback with a verdict; one that was repeated since it was taken stays open."""

    async def renew(self, callback: Callback) -> None:
        """Prolong the lease of a callback, unless it was repeated since it was taken."""

    async def postpone(self, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        """Make a callback due again later; with `counted` False this try does not count."""
