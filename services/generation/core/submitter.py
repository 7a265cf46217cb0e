"""Sends each order once: the row says DIALING before the connection is made and SENDING before the first byte."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

import structlog

from services.chassis import failpoints
from services.chassis.errors import AlreadyExists, Unavailable
from services.chassis.names import new_id
from services.generation import metrics
from services.generation.answers import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected
from services.generation.cooling import DRY
from services.generation.core.discretion import discreet
from services.generation.keyring import Key, Keys, Wait
from services.generation.model import Attempt, Failure, Generation, State
from services.generation.plan import Plan, jittered, retry_delay
from services.generation.ports import Change, FenceLost, GenerationStore, Provider

FIRST_PAUSE_SECONDS = 0.2  # before an answer that could not be recorded is recorded again; doubles up to the plan's

logger = structlog.get_logger()


class Line:
    """The open line to the provider: turns DIALING into SENDING at the last moment at which nothing is sent yet."""

    def __init__(self, store: GenerationStore, dialing: Generation) -> None:
        self._store = store
        self.generation = dialing

    async def connected(self) -> None:
        """Commit SENDING. Raises FenceLost, and then nothing may be sent."""
        await failpoints.reach("dial.connected")
        self.generation = await self._store.move(self.generation, State.SENDING)
        await failpoints.reach("sending.marked")


class Submitter:
    """Carries orders from READY to the provider's answer."""

    def __init__(
        self,
        store: GenerationStore,
        keys: Keys,
        providers: Mapping[str, Provider],
        callback_uri: Callable[[str, str], str],
        plan: Plan,
    ) -> None:
        self._store = store
        self._keys = keys
        self._providers = providers
        self._callback_uri = callback_uri
        self._plan = plan
        self._unrecorded: set[str] = set()

    async def submit(self, generation: Generation) -> None:
        """Make one attempt for a claimed READY generation, if a key is free.

        Raises:
            FenceLost: somebody else has the generation.
            Unavailable: the store is away, or was when an answer was to be recorded that still waits for it: until
                then nothing new is sent, whose answer could be recorded no better.
        """
        if self._unrecorded:
            raise Unavailable("An answer waits for the database, so no new order is sent.", retry_after=1)
        left = self._plan.submit_within - generation.since(generation.ready_ms)
        if left < 0:
            await self._store.move(generation, State.EXPIRED, Change(failure=EXPIRED))
            return
        attempt_id = new_id("att")
        key = await self._keys.acquire(attempt_id, generation.draft.model)
        if isinstance(key, Wait):
            await self._put_off(generation, key, left)
            return
        await self._attempt(generation, attempt_id, key)

    async def _put_off(self, generation: Generation, wait: Wait, left: float) -> None:
        """Wait for an account; an order that was refused for lack of credits, as every account does, not for long."""
        if wait.unpaid and (refusal := await self._store.refusal(generation, DRY)):
            left = min(left, self._plan.unpaid_within - refusal.seconds)
            if left <= 0:
                failure = Failure("UPSTREAM_CREDITS", UNPAID.format(refusal.message), refusal.code)
                await self._store.move(generation, State.EXPIRED, Change(failure=failure))
                return
        await self._store.touch(generation, Change(due_in=min(wait.seconds, left), tries=generation.tries - 1))

    async def _attempt(self, generation: Generation, attempt_id: str, key: Key) -> None:
        secret = secrets.token_urlsafe(24)
        attempt = Attempt(attempt_id, generation.id, key.account, key.print, digest_of(secret))
        line = Line(self._store, await self._store.dial(generation, attempt))
        uri = self._callback_uri(generation.family, f"{attempt.id}.{secret}")
        await failpoints.reach("dial.before")
        provider = self._providers[generation.family]
        answer = await provider.submit(generation.draft, uri, key, line.connected)
        outcome = discreet(answer, generation.draft.prompt)
        logger.info("submitted", generation=generation.id, attempt=attempt.id, outcome=type(outcome).__name__)
        await self._recorded(line.generation, attempt, key, outcome)

    async def _recorded(self, generation: Generation, attempt: Attempt, key: Key, outcome: Outcome) -> None:
        """Record the answer, again and again while the database is away: nobody else knows it.

        Only a process that dies loses an answer. Raises FenceLost.
        """
        pause, began = FIRST_PAUSE_SECONDS, monotonic()
        try:
            while True:
                try:
                    await failpoints.reach("reply.read")
                    await self._settle(generation, attempt, key, outcome)
                except Unavailable as error:
                    self._wait_for_store(attempt.id, error, began)
                    await asyncio.sleep(jittered(pause))
                    pause = min(pause * 2, self._plan.record_pause)
                else:
                    return
        finally:
            self._unrecorded.discard(attempt.id)
            metrics.UNRECORDED.set(len(self._unrecorded))

    def _wait_for_store(self, attempt_id: str, error: Unavailable, began: float) -> None:
        self._unrecorded.add(attempt_id)
        metrics.UNRECORDED.set(len(self._unrecorded))
        seconds = round(monotonic() - began, 1)
        logger.warning("answer_waits_for_database", attempt=attempt_id, seconds=seconds, cause=error.message)

    async def _settle(self, generation: Generation, attempt: Attempt, key: Key, outcome: Outcome) -> None:
        """Record the answer; repeating it changes nothing. Only what proves that nothing was taken leads to READY.

        Whatever is no acceptance is noted before the order moves: from its move on only the note says that the create
        counts against its account's bucket.
        """
        if isinstance(outcome, Accepted):
            await self._accept(generation, attempt, key, outcome)
            return
        await self._store.note_outcome(attempt.id, outcome)
        match outcome:
            case NotSent():
                again = Change(due_in=retry_delay(generation.tries), tries=generation.tries)
                await self._decline(generation, attempt, State.READY, again)
            case Refused(code, _, retry_after):
                await self._keys.refused(key, code, retry_after, generation.draft.model)
                await self._decline(generation, attempt, State.READY, Change(tries=generation.tries))
                await failpoints.reach("refused.recorded")
            case Rejected(code, message):
                failure = Failure("PROVIDER_REJECTED", message, code)
                await self._decline(generation, attempt, State.FAILED, Change(failure=failure))
            case Ambiguous():
                with suppress(FenceLost):  # by recovery, which knew as little as we do
                    await self._store.move(generation, State.AMBIGUOUS, Change(due_in=self._plan.unknown_after))
                await failpoints.reach("ambiguous.recorded")

    async def _accept(self, generation: Generation, attempt: Attempt, key: Key, accepted: Accepted) -> None:
        """Record the task first: nobody else knows it."""
        try:
            await self._store.accept(attempt.id, accepted.task_id, self._plan.first_poll)
        except AlreadyExists:  # an id that says nothing of this order, whose own its webhook names
            vague = Ambiguous(f"answered with {accepted.task_id} of another order")
            await self._settle(generation, attempt, key, vague)
            return
        await self._keys.accepted(key, generation.draft.model)
        await failpoints.reach("submitted.recorded")
        await self._store.note_outcome(attempt.id, accepted)

    async def _decline(self, generation: Generation, attempt: Attempt, state: State, change: Change) -> None:
        """Note that the order was not taken: a fact, also when recovery took the attempt for unanswered meanwhile."""
        try:
            await self._store.move(generation, state, change)
        except FenceLost:
            if not await self._store.decline(attempt.id, state, change):
                logger.info("fence_lost", generation=generation.id, state=generation.state)


EXPIRED = Failure("EXPIRED", "No upstream account could take the order in time. Nothing was billed. Order again later.")

UNPAID = (
    "The upstream refused this order for lack of credits, at every account: {} Nothing was billed. Order again later."
)


def digest_of(secret: str) -> str:
    """What the attempt's row keeps of its callback token."""
    return hashlib.sha256(secret.encode()).hexdigest()
