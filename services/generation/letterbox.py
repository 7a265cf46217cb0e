"""The seam to the inbox, beside ports.py because what comes in by webhook has a life of its own."""

from collections.abc import Sequence
from typing import Protocol

from services.generation.model import Callback


class Inbox(Protocol):
    """Webhooks, and reminders of ours, until somebody has found out what they mean. May raise errors.Unavailable."""

    async def keep(self, callback: Callback) -> bool:
        """Put a webhook in; False when the same (attempt, task, code) is there already.

        A repetition opens a closed one again, unless that was settled: done, delivered, extra or recorded.
        """

    async def strangers(self) -> int:
        """How many open webhooks came without a token."""

    async def tasks_of(self, attempt_id: str) -> int:
        """How many open webhooks name an attempt."""

    async def take(self, limit: int) -> Sequence[Callback]:
        """Webhooks not dealt with and due, leased for a moment, tries + 1; oldest first."""

    async def finish(self, callback: Callback, verdict: str) -> None:
        """Close a webhook with a word that says what was made of it; one that came again meanwhile stays open."""

    async def renew(self, callback: Callback) -> None:
        """Keep a webhook from others for a moment longer, unless it came again meanwhile."""

    async def postpone(self, callback: Callback, due_in: float, *, counted: bool = True) -> None:
        """Look at it again later; a look that came to nothing through no fault of it need not be counted."""
