"""Credits and the daily check-in that earns some; only where CREDITS_ENABLED is set."""

from services.chassis.clock import Clock, day_of
from services.chassis.database import Database
from services.chassis.errors import Unimplemented
from services.community.core import validation
from services.community.model import Balance, CheckIn
from services.community.ports import CreditStore

CHECK_IN_CREDITS = 12  # docs/rest.md#credits-and-check-in


class Credits:
    """Balances and check-ins."""

    def __init__(self, database: Database, store: CreditStore, *, enabled: bool, clock: Clock) -> None:
        self._database, self._store, self._enabled, self._clock = database, store, enabled, clock

    async def balance(self, viewer_id: str) -> Balance:
        """The viewer's balance. Raises Unauthenticated, Unimplemented."""
        user_id = self._allowed(viewer_id)
        if found := await self._database.read(self._store.balance, user_id):
            return found
        return await self._database.write(self._store.open_account, user_id)

    async def check_in(self, viewer_id: str) -> tuple[CheckIn, int]:
        """Check in for today; the status and the credits earned. Raises Unauthenticated, Unimplemented."""
        user_id, today = self._allowed(viewer_id), self.today()
        status, first = await self._database.write(self._store.check_in, user_id, today, CHECK_IN_CREDITS)
        return status, CHECK_IN_CREDITS if first else 0

    async def status(self, viewer_id: str) -> CheckIn:
        """The last check-in; its streak is broken, so 0, when it was before yesterday. Raises as balance does."""
        last = await self._database.read(self._store.last_check_in, self._allowed(viewer_id))
        return last if last.day >= self.today() - 1 else CheckIn(last.day, 0, last.total)

    def today(self) -> int:
        """The current day in Japan, counted from 1970-01-01."""
        return day_of(self._clock())

    def _allowed(self, viewer_id: str) -> str:
        if not self._enabled:
            raise Unimplemented("This site has no credits.", "CREDITS_DISABLED")
        return validation.signed_in(viewer_id)
