"""The ports of orders and credits."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import Artwork, Balance, CheckIn, GenerationStatus, Order, UnreadableEvent


class CreditsShortError(Exception):
    """An account has too few credits; its balance is unchanged."""

    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.balance = balance


class OrderStore(Protocol):
    """Stores orders. An order, its artwork and its credits change in one transaction."""

    async def open(self, artwork: Artwork, order: Order) -> Artwork:
        """Insert a new artwork and its order, and hold the order's cost; or return the artwork with its request_key.

        Raises:
            CreditsShortError: nothing was stored.
        """

    async def requested(self, user_id: str, request_key: str) -> Order | None:
        """The order of a user's request_key, also when its artwork is deleted; None when there is none."""

    async def reopen(self, artwork: Artwork, order: Order) -> bool:
        """Insert another order of an artwork, which is GENERATING again; False when the artwork has changed meanwhile.

        If it changed by an order with the same request_key, `requested` finds that.

        Raises:
            CreditsShortError: nothing was stored.
        """

    async def apply(self, status: GenerationStatus, order_id: str = "") -> Order | None:
        """Apply the status of a generation to its order, found by the order's id or the generation's.

        An event is applied only if its sequence is above the cursor, which moves in the same transaction. Events
        that concern no order of ours need not move the cursor.

        Returns:
            The changed order; None when it is not ours, or nothing changed.
        """

    async def withdraw(self, order_id: str) -> None:
        """Delete an order that was never taken, and its artwork; release the hold."""

    async def refuse(self, order_id: str, reason: str, message: str) -> None:
        """End an order that was never taken as FAILED, its artwork too, unless that has a picture; release the hold."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Lease orders that are due; no other caller gets them for lease_seconds."""

    async def postpone(self, order_id: str, seconds: float) -> None:
        """Make an order due after so many seconds; one that has ended is never due."""

    async def delay(self, order_id: str, seconds: float) -> None:
        """Make an order due after so many seconds, also one that has ended."""

    async def pass_over(self, status: GenerationStatus | UnreadableEvent) -> None:
        """Skip an event; its order is due at once instead, unless it has SUCCEEDED."""

    async def give_up(self, order_id: str, message: str) -> None:
        """End an order at which our own code fails as TIMED_OUT (reason PARKED); release the hold."""

    async def revive(self, order_id: str) -> None:
        """Make an order due that was given up, if its artwork still waits for it."""

    async def abandoned(self, order: Order) -> bool:
        """True when the artwork of an order was deleted."""

    async def cursor(self) -> int:
        """The sequence of the last consumed event; 0 when there was none."""


class CreditStore(Protocol):
    """Stores balances. A new account begins with the initial credits."""

    async def balance(self, user_id: str) -> Balance:
        """The balance of a user."""

    async def check_in(self, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Check in on a day; the status, and whether it was the first check-in of that day."""

    async def last_check_in(self, user_id: str) -> CheckIn:
        """The last check-in of a user."""
