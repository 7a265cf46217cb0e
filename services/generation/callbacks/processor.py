"""Processes the inbox: a callback wakes its generation, lets an order adopt its task, or is of a late result."""

from contextlib import suppress

import structlog

from services.chassis import failpoints
from services.chassis.database import Database, Transaction
from services.chassis.errors import AlreadyExists, Unavailable
from services.chassis.lease_loop import LOOK_SECONDS, LeasedWork, LeaseLoop
from services.chassis.notifier import Notifier
from services.chassis.parking import TRANSIENT, Parking, WorkFault
from services.generation.callbacks.late_results import LateResults
from services.generation.model import INBOX, NOT_POLLED, UNANSWERED, Attempt, Callback, Generation, State
from services.generation.outcomes import Completed, NotVisible, PromptMismatch, TaskFailed, Unreadable
from services.generation.ports import Change, FenceLost, GenerationStore, Inbox
from services.generation.timing import READ_GAP_SECONDS, RECONCILE_SECONDS, reconcile_delay, retry_delay
from services.generation.workers.poll import Poller, outputs_of

AT_ONCE = 20  # callbacks in work at once; late results, the slow ones, are bounded further
BEING_READ_SECONDS = 0.5  # reading a record takes less, as a rule
LEASE_SECONDS = 10.0  # for which the inbox leases a taken callback
FREQUENT_TRIES = 12  # about ten minutes: longer than any reply that a callback may overtake
SUCCESS = 200  # the code of a callback that announces a result

logger = structlog.get_logger()


class CallbackProcessor:
    """Processes verified callbacks."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        inbox: Inbox,
        notifier: Notifier,
        poller: Poller,
        *,
        late_results: LateResults,
        parking: Parking,
    ) -> None:
        self._database = database
        self._store = store
        self._inbox = inbox
        self._notifier = notifier
        self._poller = poller
        self._late_results = late_results
        work = LeasedWork(
            loop=INBOX,
            claim=lambda limit: database.write_urgently(inbox.take, limit),
            do=self._delivered,
            failed=self._failed,
            postponed=self._postponed,
            at_once=AT_ONCE,
            lease_seconds=LEASE_SECONDS,
            renew=lambda callback: database.write_urgently(inbox.renew, callback),
            expected=(FenceLost, *TRANSIENT),
            crash_event="callback_failed",
        )
        self._loop = LeaseLoop(work, parking, notifier, "inbox")

    async def run(self) -> None:
        """Process the inbox until the notifier closes or this is cancelled; running work is finished."""
        await self._loop.run()

    async def _failed(self, callback: Callback, fault: WorkFault) -> None:
        """Try again later without counting the try: our own code failed."""
        await self._put_off(callback, fault.pause_seconds)

    async def _postponed(self, callback: Callback, error: Exception) -> None:
        """Try again later without counting the try: another worker holds the generation, or a dependency is away."""
        if isinstance(error, FenceLost):
            await self._put_off(callback, BEING_READ_SECONDS)
            return
        logger.warning("callback_postponed", callback=callback.id, cause=str(error))
        await self._put_off(callback, LOOK_SECONDS)

    async def _put_off(self, callback: Callback, seconds: float) -> None:
        """Make a callback due again without counting the try. If that fails, the lease ends by itself."""
        with suppress(Unavailable):
            await self._database.write(self._inbox.postpone, callback, seconds, counted=False)

    async def _delivered(self, callback: Callback) -> None:
        try:
            await self._deliver(callback)
        except AlreadyExists:  # a callback with another attempt's token named the task at this moment
            await self._database.write(self._inbox.finish, callback, "foreign")

    async def _deliver(self, callback: Callback) -> None:
        named = await self._database.read(self._named_by, callback)
        if named is None:
            await self._ask_again(callback)
            return
        attempt, generation = named
        awaited = (generation.attempt_id, generation.task_id) == (attempt.id, callback.task_id)
        if awaited and generation.state not in NOT_POLLED:
            await self._wake(callback, generation)
        elif not callback.proves_attempt and await self._has_another_owner(callback, attempt):
            await self._database.write(self._inbox.finish, callback, "foreign")
        else:
            await self._verify(callback, attempt, generation)

    async def _wake(self, callback: Callback, generation: Generation) -> None:
        """Make the generation due. The result of a canceled one is recorded, not copied and not shown."""
        if generation.state is State.CANCELED:
            record = await self._poller.read(generation.attempt_id, generation.family, generation.task_id)
            if isinstance(record, Completed) and not generation.outputs:
                await self._database.write(self._store.touch, generation, Change(outputs=outputs_of(record)))
        await self._database.write(self._woken, callback, generation.id)
        self._notifier.notify_later(State.RUNNING, READ_GAP_SECONDS)  # it may be due only then

    def _woken(self, transaction: Transaction, callback: Callback, generation_id: str) -> None:
        """Close the callback with the waking, unless its generation is being read at this moment."""
        if self._store.wake(transaction, generation_id):
            self._inbox.finish(transaction, callback, "done")
        else:
            self._inbox.postpone(transaction, callback, BEING_READ_SECONDS)

    def _named_by(self, transaction: Transaction, callback: Callback) -> tuple[Attempt, Generation] | None:
        """The attempt that a callback names, by its token or else by the task, and its generation."""
        if callback.attempt_id:
            attempt = self._store.attempt(transaction, callback.attempt_id)
        else:
            attempt = self._store.attempt_of_task(transaction, callback.task_id)
        return (attempt, self._store.get(transaction, attempt.generation_id)) if attempt else None

    async def _has_another_owner(self, callback: Callback, attempt: Attempt) -> bool:
        if attempt.task_id == callback.task_id:  # ids are unique within an account only
            return False
        owner = await self._database.read(self._store.attempt_of_task, callback.task_id)
        if owner is None or owner.id == attempt.id:
            return False
        if not callback.proves_attempt:
            return True
        return await self._database.read(self._store.is_named_by_callback, owner.id, callback.task_id)

    async def _is_assigned(self, callback: Callback, attempt: Attempt) -> bool:
        """Trust the token and the record over a reply that gave the task's id to another order."""
        if not callback.proves_attempt:
            return True
        after = self._poller.unknown_after
        return await self._database.write(self._store.assign, attempt.id, callback.task_id, after)

    async def _verify(self, callback: Callback, attempt: Attempt, generation: Generation) -> None:
        """Act on the provider's record, read with a key of the account that ordered; a callback proves nothing."""
        match await self._poller.recognise(attempt, generation, callback.task_id):
            case Unreadable():
                await self._keep_asking(callback)
            case NotVisible() if await self._has_another_owner(callback, attempt):
                await self._database.write(self._inbox.finish, callback, "foreign")
            case NotVisible():
                await self._ask_again(callback)
            case PromptMismatch():
                logger.warning("task_quarantined", attempt=attempt.id, task=callback.task_id)
                await self._database.write(self._inbox.finish, callback, "quarantined")
            case _ if not await self._is_assigned(callback, attempt):
                await self._database.write(self._inbox.finish, callback, "foreign")
            case _ if is_lost(generation, attempt):
                await self._adopt(callback, attempt)
            case Completed() as record:
                await self._handle_late_result(callback, attempt, generation, record)
            case TaskFailed() if callback.code == SUCCESS:  # callback and record disagree, and either may lag
                await self._ask_again(callback)
            case TaskFailed():
                await self._database.write(self._inbox.finish, callback, "failed")
            case _:
                await self._keep_asking(callback)

    async def _adopt(self, callback: Callback, attempt: Attempt) -> None:
        """Let the attempt whose answer was lost adopt its task."""
        generation = await self._database.write(self._store.accept, attempt.id, callback.task_id, 0)
        await failpoints.reach("adopt.after")
        logger.info("task_adopted", generation=generation.id, attempt=attempt.id)
        await self._wake(callback, generation)

    async def _handle_late_result(
        self, callback: Callback, attempt: Attempt, generation: Generation, record: Completed
    ) -> None:
        """Handle results that the generation no longer waits for: they were made and paid for.

        Recording the task of an earlier attempt writes a reminder, so the callback is processed once more.
        """
        if not attempt.task_id and attempt.id != generation.attempt_id:
            await self._database.write(self._store.accept, attempt.id, callback.task_id, 0)
            return
        if done := await self._late_results.handle(generation, attempt, callback.task_id, record):
            await self._database.write(self._inbox.finish, callback, done)
        else:
            await self._keep_asking(callback)

    async def _keep_asking(self, callback: Callback) -> None:
        """Read the record again ever less often, for as long as the provider keeps results."""
        if callback.age_seconds > RECONCILE_SECONDS:
            await self._database.write(self._inbox.finish, callback, "unknown")
        elif callback.tries < FREQUENT_TRIES:
            await self._database.write(self._inbox.postpone, callback, retry_delay(callback.tries))
        else:
            await self._database.write(self._inbox.postpone, callback, reconcile_delay(callback.age_seconds))

    async def _ask_again(self, callback: Callback) -> None:
        """The task is unknown yet: with a token try for as long as results are kept, without one for some minutes."""
        if callback.attempt_id:
            await self._keep_asking(callback)
        elif callback.tries >= FREQUENT_TRIES:
            await self._database.write(self._inbox.finish, callback, "unknown")
        else:
            await self._database.write(self._inbox.postpone, callback, retry_delay(callback.tries))


def is_lost(generation: Generation, attempt: Attempt) -> bool:
    """True when the generation still waits for the answer to this attempt."""
    waits = generation.state in UNANSWERED or generation.state is State.CANCELED
    return waits and generation.attempt_id == attempt.id and not generation.task_id and not attempt.task_id
