"""Recovery moves on the orders whose submit was cut short, because their process died or lost its lease.

An order whose process died while DIALING was provably not sent. One whose process died while SENDING is AMBIGUOUS: it
waits for its callback, and is not sent again.
"""

from services.chassis import failpoints
from services.chassis.database import Database
from services.generation.model import Failure, Generation, State
from services.generation.ports import Change, GenerationStore
from services.generation.timing import FOR_EVER_SECONDS, Timing

NO_ANSWER = Failure(
    "ANSWER_LOST",
    "The upstream's answer was lost and no news came. It may have been billed, so it was not sent again. "
    "If the picture still arrives, it will be shown here.",
)


class Recovery:
    """Moves generations whose lease, or whose wait for a callback, has ended."""

    def __init__(self, database: Database, store: GenerationStore, timing: Timing) -> None:
        self._database = database
        self._store = store
        self._timing = timing

    async def recover(self, generation: Generation) -> None:
        """Move a claimed generation whose lease, or whose wait for a callback, has ended."""
        await failpoints.reach("recover.before")
        match generation.state:
            case State.DIALING:  # SENDING is committed before the first byte, so nothing was sent
                await self._database.write(self._store.move, generation, State.READY, Change(tries=generation.tries))
            case State.SENDING:
                waiting = Change(due_in=self._timing.unknown_after)
                await self._database.write(self._store.move, generation, State.AMBIGUOUS, waiting)
            case State.AMBIGUOUS:
                change = Change(due_in=FOR_EVER_SECONDS, failure=NO_ANSWER)
                await self._database.write(self._store.move, generation, State.UNKNOWN, change)
