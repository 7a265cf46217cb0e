"""Admission control: a new order waits shortly for its answer, or is refused at once when no account can take it."""

from collections.abc import Sequence
from time import monotonic

from services.chassis import context
from services.chassis.database import Database
from services.chassis.errors import Aborted, KawaiiError, ResourceExhausted, Unavailable
from services.chassis.lease_loop import LOOK_SECONDS
from services.chassis.notifier import Notifier
from services.generation.key_pool.cooldowns import OUT_OF_CREDITS, cooldown_of
from services.generation.key_pool.pool import KeyPool, Wait
from services.generation.model import UNDECIDED, Failure, Generation, Placed, State
from services.generation.ports import Change, FenceLost, GenerationStore
from services.generation.quota import Charge
from services.generation.timing import Timing

ANSWER_SECONDS = 0.5  # of the caller's time, kept to look once more and to answer
BUSY, AWAY = "NO_CAPACITY", "UPSTREAM_UNAVAILABLE"
NO_CAPACITY = "The upstream takes no more orders at the moment. Nothing was billed. Order again later."
NO_ACCOUNT = "No account at the upstream works at the moment. Nothing was billed. Order again later."
NO_CREDITS = "The upstream refuses this model for lack of credits at the moment. Nothing was billed. Order again later."


class AdmissionControl:
    """Waits for the provider's answer to a new order, and refuses the order when no account can take it."""

    def __init__(
        self, database: Database, store: GenerationStore, notifier: Notifier, key_pool: KeyPool, timing: Timing
    ) -> None:
        self._database = database
        self._store = store
        self._notifier = notifier
        self._key_pool = key_pool
        self._timing = timing

    async def decided(self, generation: Generation) -> Generation:
        """Wait until the provider has answered, but no longer than `create_wait` or the caller's deadline.

        An order that was tried once is accepted, and waits for an account even if none will be free soon.

        Raises:
            ResourceExhausted: every account is busy for longer than `dry_after` (reason NO_CAPACITY).
            Unavailable: no account works, for as long (reason UPSTREAM_UNAVAILABLE). Both end the order as EXPIRED.
        """
        end = monotonic() + self._wait_seconds()
        with self._notifier.subscribed(generation.id) as subscription:
            while generation.state in UNDECIDED and (left := end - monotonic()) > 0:
                wait = await self._no_account_wait(generation)
                if wait and generation.attempt_id:
                    break
                if wait:
                    await self._refuse(generation, wait)
                else:
                    await subscription.wait(min(left, LOOK_SECONDS))
                generation = await self._database.read(self._store.get, generation.id)
        return await self._unless_refused(generation)

    async def readmitted(self, placed: Placed, charges: Sequence[Charge]) -> Placed:
        """An order that was refused before and is repeated by its request_id, READY anew; any other order as it is.

        It is charged once on each day: else orders of many days could wait for one on which all are taken.

        Raises:
            Aborted: it was repeated twice at the same time.
            ResourceExhausted: a charge's day is used up.
        """
        generation = placed.generation
        if not was_refused(generation):
            return placed
        try:
            return await self._database.write(self._store.restart, generation, charges, counted_ms=generation.update_ms)
        except FenceLost:
            raise Aborted("The same order is being made elsewhere at this moment. Try again.") from None

    def _wait_seconds(self) -> float:
        """Seconds to wait: `create_wait`, within what the caller has left, or it would never see its order."""
        left = context.time_remaining()
        return self._timing.create_wait if left is None else min(self._timing.create_wait, left - ANSWER_SECONDS)

    async def _no_account_wait(self, generation: Generation) -> Wait | None:
        """How long no account takes a waiting order, if that is longer than `dry_after`."""
        if generation.state is not State.READY:
            return None
        wait = await self._key_pool.outlook(generation.draft.model)
        return wait if wait.code and wait.seconds > self._timing.dry_after else None

    async def _refuse(self, generation: Generation, wait: Wait) -> None:
        """End an order as EXPIRED, unless a worker has just claimed it."""
        error = refusal(wait)
        try:
            failure = Failure(error.reason, error.message, wait.code)
            await self._database.write(self._store.move, generation, State.EXPIRED, Change(failure=failure))
        except FenceLost:
            return

    async def _unless_refused(self, generation: Generation) -> Generation:
        """The order, or its refusal as an error."""
        if was_refused(generation) and generation.failure:
            now = await self._key_pool.outlook(generation.draft.model)
            raise refusal(Wait(now.seconds, generation.failure.provider_code), generation.id)
        return generation


def was_refused(generation: Generation) -> bool:
    """True when an order was refused by admission control, so that a repeated create orders anew."""
    return bool(generation.failure and generation.failure.reason in {BUSY, AWAY})


def refusal(wait: Wait, identifier: str = "") -> KawaiiError:
    """The error for an order that no account takes, with when to come back, and the order's id for looking it up."""
    named = {"generation": identifier, "provider_code": str(wait.code)}
    if cooldown_of(wait.code).busy:
        return ResourceExhausted(NO_CAPACITY, BUSY, metadata=named, retry_after=wait.seconds)
    sentence = NO_CREDITS if wait.code in OUT_OF_CREDITS else NO_ACCOUNT
    return Unavailable(sentence, AWAY, metadata=named, retry_after=wait.seconds)
