"""The port of likes, favourites and reports."""

from typing import Protocol

from services.community.model import After, Drift, Reacted, Reaction, Report


class BudgetSpentError(Exception):
    """A user has used up an action's limit of this hour."""


class ReactionStore(Protocol):
    """Stores reactions; counts change in the transaction that changes a row."""

    async def react(
        self, user_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool, per_hour: int
    ) -> Reacted | None:
        """Add or remove a reaction; None when there is no such artwork, or it is not listed.

        Raises:
            BudgetSpentError: this would change a row, and the user has made `per_hour` changes; 0 means no limit.
        """

    async def report(self, given: Report, per_hour: int) -> bool:
        """Store a report, which replaces the user's older one; False when there is no such artwork.

        Raises:
            BudgetSpentError: the user has made `per_hour` reports; 0 means no limit.
        """

    async def reports(self, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Reports, the latest first; an After is the time and `artwork_id user_id`."""

    async def reconcile(self, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Compare the counts of the next artworks with their rows; the drift, and the last id, empty at the end."""
