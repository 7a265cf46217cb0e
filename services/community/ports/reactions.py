"""What keeps likes, favourites and reports."""

from typing import Protocol

from services.community.model import After, Drift, Reacted, Reaction, Report


class BudgetSpentError(Exception):
    """Somebody has done something as often as they may in this hour."""


class ReactionStore(Protocol):
    """Keeps what people think of artworks; counts change in the transaction that changes a row."""

    async def react(
        self, user_id: str, artwork_id: str, reaction: Reaction, *, wanted: bool, per_hour: int
    ) -> Reacted | None:
        """Make a reaction be there or not be there; None when there is no such artwork, or it is not listed.

        Raises:
            BudgetSpentError: it would be a change, and the person has made `per_hour` of them; 0 counts none.
        """

    async def report(self, given: Report, per_hour: int) -> bool:
        """Keep a report, which replaces the person's older one; False when there is no such artwork.

        Raises:
            BudgetSpentError: the person has made `per_hour` of them; 0 counts none.
        """

    async def reports(self, limit: int, after: After | None = None) -> tuple[Report, ...]:
        """Reports, the latest first; an After is the time and `artwork_id user_id`."""

    async def reconcile(self, after_id: str, limit: int, *, mend: bool) -> tuple[Drift, str]:
        """Count the reactions of the next artworks; and the id of the last one, empty at the end."""
