"""Finds orders whose process died at the telephone, and those whose lost answer never came by callback."""

from services.chassis import failpoints
from services.generation.model import Failure, Generation, State
from services.generation.plan import FOR_EVER_SECONDS, Plan
from services.generation.ports import Change, GenerationStore

NO_ANSWER = Failure(
    "ANSWER_LOST",
    "The upstream's answer was lost and no news came. It may have been billed, so it was not sent again. "
    "If the picture still arrives, it will be shown here.",
)


class Janitor:
    """Moves on what nobody else holds."""

    def __init__(self, store: GenerationStore, plan: Plan) -> None:
        self._store = store
        self._plan = plan

    async def tidy(self, generation: Generation) -> None:
        """Decide about a claimed generation whose lease, or patience, ran out."""
        await failpoints.reach("tidy.before")
        match generation.state:
            case State.DIALING:  # SENDING is committed before the first byte, so nothing was sent
                await self._store.move(generation, State.READY, Change(tries=generation.tries))
            case State.SENDING:
                await self._store.move(generation, State.AMBIGUOUS, Change(due_in=self._plan.unknown_after))
            case State.AMBIGUOUS:
                change = Change(due_in=FOR_EVER_SECONDS, failure=NO_ANSWER)
                await self._store.move(generation, State.UNKNOWN, change)
