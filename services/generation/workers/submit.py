"""The submit worker sends each order once.

DIALING is committed before connecting, SENDING before the first byte, so that recover.py knows of an order whose
process died whether it may have been sent.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

import structlog

from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, Unavailable
from services.chassis.names import new_id
from services.generation import metrics
from services.generation.callbacks.receiver import digest_of
from services.generation.key_pool.cooldowns import OUT_OF_CREDITS
from services.generation.key_pool.pool import Key, KeyPool, Wait
from services.generation.model import Attempt, Failure, Generation, State
from services.generation.outcomes import Accepted, Ambiguous, NotSent, Outcome, Refused, Rejected, redacted
from services.generation.ports import Change, FenceLost, GenerationStore, Provider
from services.generation.timing import Timing, jittered, retry_delay

FIRST_PAUSE_SECONDS = 0.2  # before an answer that could not be recorded is recorded again; doubles up to `record_pause`

EXPIRED = Failure("EXPIRED", "No upstream account could take the order in time. Nothing was billed. Order again later.")
UNPAID = (
    "The upstream refused this order for lack of credits, at every account: {} Nothing was billed. Order again later."
)

logger = structlog.get_logger()


class SubmitConnection:
    """Commits SENDING for an attempt when the connection is up, the last moment at which nothing is sent yet."""

    def __init__(self, database: Database, store: GenerationStore, dialing: Generation) -> None:
        self._database = database
        self._store = store
        self.generation = dialing

    async def connected(self) -> None:
        """Commit SENDING. Raises FenceLost, and then nothing may be sent."""
        await failpoints.reach("dial.connected")
        move = self._store.move
        self.generation = await self._database.write_urgently(move, self.generation, State.SENDING)
        await failpoints.reach("sending.marked")


class Submitter:
    """Carries orders from READY to the provider's answer."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        key_pool: KeyPool,
        providers: Mapping[str, Provider],
        callback_uri: Callable[[str, str], str],
        *,
        timing: Timing,
    ) -> None:
        self._database = database
        self._store = store
        self._key_pool = key_pool
        self._providers = providers
        self._callback_uri = callback_uri
        self._timing = timing
        self._unrecorded: set[str] = set()

    async def submit(self, generation: Generation) -> None:
        """Make one attempt for a claimed READY generation, if a key is free.

        Raises:
            FenceLost: another worker has the generation.
            Unavailable: the store is away, or was when an answer was to be recorded that still waits for it: until
                then nothing new is sent, whose answer could be recorded no better.
        """
        if self._unrecorded:
            raise Unavailable("An answer waits for the database, so no new order is sent.", retry_after=1)
        left = self._timing.submit_within - generation.since(generation.ready_ms)
        if left < 0 or not generation.draft.prompt:  # without one it was forgotten while its refusal waited
            await self._database.write(self._store.move, generation, State.EXPIRED, Change(failure=EXPIRED))
            return
        attempt_id = new_id("att")
        key = await self._key_pool.acquire(attempt_id, generation.draft.model)
        if isinstance(key, Wait):
            await self._put_off(generation, key, left)
            return
        await self._attempt(generation, attempt_id, key)

    async def _put_off(self, generation: Generation, wait: Wait, left: float) -> None:
        """Postpone an order until an account is free; shortly when every account refuses it for lack of credits."""
        if wait.unpaid and (refusal := await self._database.read(self._store.refusal, generation, OUT_OF_CREDITS)):
            left = min(left, self._timing.unpaid_within - refusal.seconds)
            if left <= 0:
                failure = Failure("UPSTREAM_CREDITS", UNPAID.format(refusal.message), refusal.code)
                await self._database.write(self._store.move, generation, State.EXPIRED, Change(failure=failure))
                return
        later = Change(due_in=min(wait.seconds, left), tries=generation.tries - 1)
        await self._database.write(self._store.touch, generation, later)

    async def _attempt(self, generation: Generation, attempt_id: str, key: Key) -> None:
        secret = secrets.token_urlsafe(24)
        attempt = Attempt(attempt_id, generation.id, key.account, key.print, digest_of(secret))
        dialing = await self._database.write(self._store.dial, generation, attempt)
        connection = SubmitConnection(self._database, self._store, dialing)
        uri = self._callback_uri(generation.family, f"{attempt.id}.{secret}")
        await failpoints.reach("dial.before")
        provider = self._providers[generation.family]
        answer = await provider.submit(generation.draft, uri, key, connection.connected)
        outcome = redacted(answer, generation.draft.prompt)
        logger.info("submitted", generation=generation.id, attempt=attempt.id, outcome=type(outcome).__name__)
        await self._recorded(connection.generation, attempt, key, outcome)

    async def _recorded(self, generation: Generation, attempt: Attempt, key: Key, outcome: Outcome) -> None:
        """Record the provider's answer, retrying while the database is away: it is known to this process only.

        An answer is lost only if this process dies. Raises FenceLost.
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
                    pause = min(pause * 2, self._timing.record_pause)
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
        """Record the answer; repeating it changes nothing. Only proof that nothing was taken leads to READY.

        Whatever is no acceptance is noted no later than the order moves: from its move on only the note says that the
        create counts against its account's bucket. A refusal is noted no earlier either: a process that died in between
        would leave a certain answer on which nobody acts.
        """
        match outcome:
            case Accepted():
                await self._accept(generation, attempt, key, outcome)
            case NotSent():
                again = Change(due_in=retry_delay(generation.tries), tries=generation.tries)
                await self._decline(generation, outcome, State.READY, again)
            case Refused(code, _, retry_after):
                await self._key_pool.refused(key, code, retry_after, generation.draft.model)
                await self._decline(generation, outcome, State.READY, Change(tries=generation.tries))
                await failpoints.reach("refused.recorded")
            case Rejected(code, message):
                failure = Failure("PROVIDER_REJECTED", message, code)
                await self._decline(generation, outcome, State.FAILED, Change(failure=failure))
            case Ambiguous():
                await self._database.write_urgently(self._store.note_outcome, attempt.id, outcome)
                with suppress(FenceLost):  # recovery has moved it to the same state
                    waiting = Change(due_in=self._timing.unknown_after)
                    await self._database.write_urgently(self._store.move, generation, State.AMBIGUOUS, waiting)
                await failpoints.reach("ambiguous.recorded")

    async def _accept(self, generation: Generation, attempt: Attempt, key: Key, accepted: Accepted) -> None:
        """Record the task id first: it is known to this process only."""
        try:
            await self._database.write_urgently(
                self._store.accept, attempt.id, accepted.task_id, self._timing.first_poll
            )
        except AlreadyExists:  # the id is not of this order; its own id comes with its callback
            vague = Ambiguous(f"answered with {accepted.task_id} of another order")
            await self._settle(generation, attempt, key, vague)
            return
        await self._key_pool.accepted(key, generation.draft.model)
        await failpoints.reach("submitted.recorded")
        await self._database.write_urgently(self._store.note_outcome, attempt.id, accepted)

    async def _decline(self, generation: Generation, outcome: Outcome, state: State, change: Change) -> None:
        """Record that the order was not taken, also when recovery has meanwhile treated the attempt as unanswered."""
        decline = self._store.decline
        if not await self._database.write_urgently(decline, generation.attempt_id, outcome, state, change):
            logger.info("fence_lost", generation=generation.id, state=generation.state)
