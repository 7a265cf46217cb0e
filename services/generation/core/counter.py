"""The counter: where an order waits a moment for its answer, or is sent away at once when no account can take it."""

from collections.abc import Sequence
from time import monotonic

from services.chassis import context
from services.chassis.errors import Aborted, KawaiiError, ResourceExhausted, Unavailable
from services.generation.bell import Bell
from services.generation.cooling import DRY, cooling_of
from services.generation.core.worker import LOOK_SECONDS
from services.generation.keyring import Keys, Wait
from services.generation.model import UNDECIDED, Failure, Generation, State
from services.generation.plan import Plan
from services.generation.ports import Change, FenceLost, GenerationStore
from services.generation.quota import Charge

ANSWER_SECONDS = 0.5  # kept back to look once more and bring the answer to the caller
BUSY, AWAY = "NO_CAPACITY", "UPSTREAM_UNAVAILABLE"
NO_CAPACITY = "The upstream takes no more orders at the moment. Nothing was billed. Order again later."
NO_ACCOUNT = "No account at the upstream works at the moment. Nothing was billed. Order again later."
NO_CREDITS = "The upstream refuses this model for lack of credits at the moment. Nothing was billed. Order again later."


class Counter:
    """Waits with whoever ordered."""

    def __init__(self, store: GenerationStore, bell: Bell, keys: Keys, plan: Plan) -> None:
        self._store = store
        self._bell = bell
        self._keys = keys
        self._plan = plan

    async def decided(self, generation: Generation) -> Generation:
        """Wait until the provider has answered, but no longer than the plan says or the caller does.

        An order that was tried once is accepted, and waits for an account even if none will be free soon.

        Raises:
            ResourceExhausted: every account is busy for longer than the plan waits (reason NO_CAPACITY).
            Unavailable: no account works, for as long (reason UPSTREAM_UNAVAILABLE). Both end the order as EXPIRED.
        """
        end = monotonic() + self._patience()
        with self._bell.listening(generation.id) as ear:
            while generation.state in UNDECIDED and (left := end - monotonic()) > 0:
                wait = await self._drought(generation)
                if wait and generation.attempt_id:
                    break
                if wait:
                    await self._send_away(generation, wait)
                else:
                    await ear.wait(min(left, LOOK_SECONDS))
                generation = await self._store.get(generation.id)
        return await self._unless_sent_away(generation)

    async def readmitted(self, generation: Generation, charges: Sequence[Charge]) -> Generation:
        """An order that was sent away before and is made again by its request_id, READY as if new; any other as it is.

        It is charged once on each day: else orders of many days could wait for one on which all are taken.

        Raises:
            Aborted: it was made again twice at the same time.
            ResourceExhausted: a charge's day is used up.
        """
        if not was_sent_away(generation):
            return generation
        try:
            return await self._store.restart(generation, charges, counted_ms=generation.update_ms)
        except FenceLost:
            raise Aborted("The same order is being made elsewhere at this moment. Try again.") from None

    def _patience(self) -> float:
        """Seconds to wait: what the plan says, within what the caller has left, or it would never see its order."""
        left = context.time_remaining()
        return self._plan.create_wait if left is None else min(self._plan.create_wait, left - ANSWER_SECONDS)

    async def _drought(self, generation: Generation) -> Wait | None:
        """How long no account takes an order that waits, if that is longer than the plan waits."""
        if generation.state is not State.READY:
            return None
        wait = await self._keys.outlook(generation.draft.model)
        return wait if wait.code and wait.seconds > self._plan.dry_after else None

    async def _send_away(self, generation: Generation, wait: Wait) -> None:
        """End an order that nobody has taken on; if somebody just did, there is hope for it."""
        error = refusal(wait)
        try:
            failure = Failure(error.reason, error.message, wait.code)
            await self._store.move(generation, State.EXPIRED, Change(failure=failure))
        except FenceLost:
            return

    async def _unless_sent_away(self, generation: Generation) -> Generation:
        """The order, or the refusal for whoever waits for it."""
        if was_sent_away(generation) and generation.failure:
            now = await self._keys.outlook(generation.draft.model)
            raise refusal(Wait(now.seconds, generation.failure.provider_code), generation.id)
        return generation


def was_sent_away(generation: Generation) -> bool:
    """True when its create was answered with a refusal, so that a repeated create is a new one."""
    return bool(generation.failure and generation.failure.reason in {BUSY, AWAY})


def refusal(wait: Wait, identifier: str = "") -> KawaiiError:
    """The error for an order that no account takes, with when to come back, and the order's id for looking it up."""
    named = {"generation": identifier, "provider_code": str(wait.code)}
    if cooling_of(wait.code).busy:
        return ResourceExhausted(NO_CAPACITY, BUSY, metadata=named, retry_after=wait.seconds)
    sentence = NO_CREDITS if wait.code in DRY else NO_ACCOUNT
    return Unavailable(sentence, AWAY, metadata=named, retry_after=wait.seconds)
