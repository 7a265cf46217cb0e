"""Credits and the daily check-in that earns some; only where CREDITS_ENABLED is set."""

from services.chassis.clock import Clock, day_of
from services.chassis.errors import Unimplemented
from services.community.core import validation
from services.community.model import Balance, CheckIn
from services.community.ports import CreditStore

CHECK_IN_CREDITS = 12  # docs/rest.md#credits-and-check-in


class Credits:
    """Balances and check-ins."""

    def __init__(self, store: CreditStore, *, enabled: bool, clock: Clock) -> None:
        self._store, self._enabled, self._clock = store, enabled, clock

    async def balance(self, viewer_id: str) -> Balance:
        """The viewer's balance. Raises Unauthenticated, Unimplemented."""
        return await self._store.balance(self._allowed(viewer_id))

    async def check_in(self, viewer_id: str) -> tuple[CheckIn, int]:
        """Check in for today; the status and the credits earned. Raises Unauthenticated, Unimplemented."""
        status, first = await self._store.check_in(self._allowed(viewer_id), self.today(), CHECK_IN_CREDITS)
        return status, CHECK_IN_CREDITS if first else 0

    async def status(self, viewer_id: str) -> CheckIn:
        """The last check-in; its streak is broken, so 0, when it was before yesterday. Raises as balance does."""
        last = await self._store.last_check_in(self._allowed(viewer_id))
        return last if last.day >= self.today() - 1 else CheckIn(last.day, 0, last.total)

    def today(self) -> int:
        """The current day in Japan, counted from 1970-01-01."""
        return day_of(self._clock())

    def _allowed(self, viewer_id: str) -> str:
        if not self._enabled:
            raise Unimplemented("This site has no credits.", "CREDITS_DISABLED")
        return validation.signed_in(viewer_id)
