"""What keeps orders, and what pays for them."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import Artwork, Balance, CheckIn, Order, Told, Unread


class CreditsShortError(Exception):
    """An account cannot pay; its balance is as it was."""

    def __init__(self, balance: int) -> None:
        super().__init__(balance)
        self.balance = balance


class OrderStore(Protocol):
    """Keeps orders. Each change of one takes its artwork and its credits along, in one transaction."""

    async def open(self, artwork: Artwork, order: Order) -> Artwork:
        """Keep a new artwork and its order, and hold the order's cost; or return the artwork with its request_key.

        Raises:
            CreditsShortError: nothing was kept.
        """

    async def requested(self, user_id: str, request_key: str) -> Order | None:
        """The order that a person's request made, also when its artwork is gone; None when none was taken."""

    async def reopen(self, artwork: Artwork, order: Order) -> bool:
        """Keep another order of an artwork, which is GENERATING again; False when it has changed meanwhile.

        One that changed because of the same request_key is found by `requested`.

        Raises:
            CreditsShortError: nothing was kept.
        """

    async def hear(self, told: Told, order_id: str = "") -> Order | None:
        """Believe what generation says of an order, found by its id or by the generation's.

        Of an event, only when its sequence is above every one that was heard, in the same transaction. Events that
        concern nobody here need not move the cursor.

        Returns:
            The order as it is then; None when it is none of ours, or this changed nothing.
        """

    async def withdraw(self, order_id: str) -> None:
        """Forget an order that was never taken, and its artwork; give the hold back."""

    async def refuse(self, order_id: str, reason: str, message: str) -> None:
        """End an order that was never taken as FAILED, its artwork too, unless it has a picture; give the hold back."""

    async def claim(self, limit: int, lease_seconds: float) -> Sequence[Order]:
        """Orders that are due: not confirmed or long not heard of. Nobody else gets them for so long."""

    async def postpone(self, order_id: str, seconds: float) -> None:
        """Let an order that has not ended be due after so many seconds; one that has is never due."""

    async def delay(self, order_id: str, seconds: float) -> None:
        """Let an order be due after so many seconds, also one that has ended."""

    async def pass_over(self, told: Told | Unread) -> None:
        """Have an event heard without its effect; its order is due at once instead, unless it has SUCCEEDED."""

    async def give_up(self, order_id: str, message: str) -> None:
        """End an order that our own code fails at as TIMED_OUT (reason PARKED); give the hold back."""

    async def revive(self, order_id: str) -> None:
        """Carry on at once an order that was given up, if its artwork still waits for it."""

    async def abandoned(self, order: Order) -> bool:
        """True when the artwork of an order is gone."""

    async def cursor(self) -> int:
        """The sequence of the last event that was heard; 0 when none was."""


class CreditStore(Protocol):
    """Keeps balances. A new account begins with the initial credits."""

    async def balance(self, user_id: str) -> Balance:
        """What a person has."""

    async def check_in(self, user_id: str, day: int, credits_: int) -> tuple[CheckIn, bool]:
        """Check in on a day, once; the status then, and whether it was the first time."""

    async def last_check_in(self, user_id: str) -> CheckIn:
        """The last one."""
