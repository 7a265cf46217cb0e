"""Reads the inbox: a webhook wakes its generation, reunites a lost order with its task, or tells of a latecomer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog

from services.chassis import failpoints
from services.chassis.errors import AlreadyExists, KawaiiError, Unavailable
from services.chassis.parking import TRANSIENT, Parking
from services.generation.answers import Broken, Drawn, Foreign, Invisible, Unreadable
from services.generation.bell import Bell, Ear
from services.generation.core.latecomers import Latecomers
from services.generation.core.poller import Poller, outputs_of
from services.generation.core.worker import EXPECTED, LOOK_SECONDS
from services.generation.letterbox import Inbox
from services.generation.model import INBOX, UNANSWERED, UNPOLLED, Attempt, Callback, Generation, State
from services.generation.plan import RECONCILE_SECONDS, reconcile_delay, retry_delay
from services.generation.ports import Change, FenceLost, GenerationStore

AT_ONCE = 20  # webhooks in hand together; late copies, the slow ones, take only a few of these places
BEING_READ_SECONDS = 0.5  # a read takes less, as a rule
RENEW_SECONDS = 3.0  # a third of the time for which the inbox keeps a taken webhook from others
PATIENCE_TRIES = 12  # about ten minutes: longer than any reply that a webhook may overtake
SUCCESS = 200  # the code of a webhook that tells of a result

logger = structlog.get_logger()


class Postman:
    """Works through verified webhooks."""

    def __init__(
        self,
        store: GenerationStore,
        inbox: Inbox,
        bell: Bell,
        poller: Poller,
        latecomers: Latecomers,
        *,
        parking: Parking,
    ) -> None:
        self._store = store
        self._inbox = inbox
        self._parking = parking
        self._bell = bell
        self._poller = poller
        self._latecomers = latecomers
        self._in_hand: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Read the inbox until the bell closes or this is cancelled; what is in hand is brought to its end."""
        try:
            with self._bell.listening("inbox") as ear:
                while not self._bell.closing:
                    await self._round(ear)
        finally:
            while self._in_hand:
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(self._in_hand.values())

    async def _round(self, ear: Ear) -> None:
        """Take as many as there are hands free. None waits for another: one may take minutes, to copy a late result."""
        if len(self._in_hand) >= AT_ONCE:
            await asyncio.wait(self._in_hand.values(), return_when=asyncio.FIRST_COMPLETED)
        callbacks = await self._inbox.take(AT_ONCE - len(self._in_hand))
        failed = await self._parking.counts(INBOX, [callback.id for callback in callbacks])
        for callback in callbacks:
            if (
                callback.id not in self._in_hand
            ):  # else it came again: whoever has it cannot close it, and leaves it due
                task = asyncio.create_task(self._handled(callback, failed.get(callback.id, 0)))
                self._in_hand[callback.id] = task
        if not callbacks:
            await ear.wait(LOOK_SECONDS)

    async def _handled(self, callback: Callback, failed: int) -> None:
        try:
            await self._handle(callback, failed)
        finally:
            del self._in_hand[callback.id]

    async def _handle(self, callback: Callback, failed: int) -> None:
        """Deal with one. Whatever goes wrong, it is taken again unless it is parked, and its neighbours go on."""
        try:
            async with renewing(self._inbox, callback):
                work = partial(self._delivered, callback)
                fault = await self._parking.attempt(INBOX, callback.id, work, failed=failed, expected=EXPECTED)
            if fault:
                await self._put_off(callback, 0.0 if fault.parked else fault.pause_seconds)
        except FenceLost:  # somebody is at work on its generation
            await self._put_off(callback, BEING_READ_SECONDS)
        except TRANSIENT as error:
            await self._put_back(callback, error)
        except Exception:  # a supervisor: one poisoned webhook must not stop its neighbours
            logger.exception("callback_failed", callback=callback.id, tries=callback.tries)

    async def _put_off(self, callback: Callback, seconds: float) -> None:
        """Look again when somebody else is done, or our own code mended; no fault of the webhook and not counted."""
        with suppress(Unavailable):
            await self._inbox.postpone(callback, seconds, counted=False)

    async def _put_back(self, callback: Callback, error: KawaiiError) -> None:
        """A database that is away is no fault of the webhook; unless it can be told so, the webhook's turn ends."""
        logger.warning("callback_postponed", callback=callback.id, cause=error.message)
        with suppress(Unavailable):
            await self._inbox.postpone(callback, LOOK_SECONDS, counted=False)

    async def _delivered(self, callback: Callback) -> None:
        try:
            await self._deliver(callback)
        except AlreadyExists:  # somebody else's token came with the task at this moment
            await self._inbox.finish(callback, "foreign")

    async def _deliver(self, callback: Callback) -> None:
        attempt = await self._addressee(callback)
        if attempt is None:
            await self._ask_again(callback)
            return
        generation = await self._store.get(attempt.generation_id)
        awaited = (generation.attempt_id, generation.task_id) == (attempt.id, callback.task_id)
        if awaited and generation.state not in UNPOLLED:
            await self._tell(callback, generation)
        elif not callback.proves_attempt and await self._has_another_owner(callback, attempt):
            await self._inbox.finish(callback, "foreign")
        else:
            await self._look_into(callback, attempt, generation)

    async def _tell(self, callback: Callback, generation: Generation) -> None:
        """Wake the generation. The result of a canceled one is recorded, not copied and not shown."""
        if generation.state is State.CANCELED:
            record = await self._poller.read(generation.attempt_id, generation.family, generation.task_id)
            if isinstance(record, Drawn) and not generation.outputs:
                await self._store.touch(generation, Change(outputs=outputs_of(record)))
        if await self._store.wake(generation.id):
            await self._inbox.finish(callback, "done")
        else:
            await self._inbox.postpone(callback, BEING_READ_SECONDS)

    async def _addressee(self, callback: Callback) -> Attempt | None:
        if callback.attempt_id:
            return await self._store.attempt(callback.attempt_id)
        return await self._store.attempt_of_task(callback.task_id)

    async def _has_another_owner(self, callback: Callback, attempt: Attempt) -> bool:
        if attempt.task_id == callback.task_id:  # ids are an account's: another's may know another task by this one
            return False
        owner = await self._store.attempt_of_task(callback.task_id)
        if owner is None or owner.id == attempt.id:
            return False
        return not callback.proves_attempt or await self._store.is_told(owner.id, callback.task_id)

    async def _is_assigned(self, callback: Callback, attempt: Attempt) -> bool:
        """Believe the token and the record over a reply that gave the task's id to another order."""
        after = self._poller.unknown_after
        return not callback.proves_attempt or await self._store.assign(attempt.id, callback.task_id, after)

    async def _look_into(self, callback: Callback, attempt: Attempt, generation: Generation) -> None:
        """Believe the provider's record, read with the key of the account that ordered; a webhook proves nothing."""
        match await self._poller.recognise(attempt, generation, callback.task_id):
            case Unreadable():
                await self._keep_asking(callback)
            case Invisible() if await self._has_another_owner(callback, attempt):
                await self._inbox.finish(callback, "foreign")
            case Invisible():
                await self._ask_again(callback)
            case Foreign():
                logger.warning("task_quarantined", attempt=attempt.id, task=callback.task_id)
                await self._inbox.finish(callback, "quarantined")
            case _ if not await self._is_assigned(callback, attempt):
                await self._inbox.finish(callback, "foreign")
            case _ if is_lost(generation, attempt):
                await self._reunite(callback, attempt)
            case Drawn() as record:
                await self._bring(callback, attempt, generation, record)
            case Broken() if callback.code == SUCCESS:  # the webhook and the record disagree, and either may lag
                await self._ask_again(callback)
            case Broken():
                await self._inbox.finish(callback, "failed")
            case _:
                await self._keep_asking(callback)

    async def _reunite(self, callback: Callback, attempt: Attempt) -> None:
        """Give the attempt whose answer was lost its task."""
        generation = await self._store.accept(attempt.id, callback.task_id, 0)
        await failpoints.reach("adopt.after")
        logger.info("reunited", generation=generation.id, attempt=attempt.id)
        await self._tell(callback, generation)

    async def _bring(self, callback: Callback, attempt: Attempt, generation: Generation, record: Drawn) -> None:
        """Pictures that nobody waits for were made and paid for all the same.

        Noting the task of an earlier attempt reminds us of it, so the webhook is looked at once more, as news.
        """
        if not attempt.task_id and attempt.id != generation.attempt_id:
            await self._store.accept(attempt.id, callback.task_id, 0)
            return
        if done := await self._latecomers.bring(generation, attempt, callback.task_id, record):
            await self._inbox.finish(callback, done)
        else:
            await self._keep_asking(callback)

    async def _keep_asking(self, callback: Callback) -> None:
        """It may still come: ask ever less, for as long as the provider keeps results."""
        if callback.age_seconds > RECONCILE_SECONDS:
            await self._inbox.finish(callback, "unknown")
        elif callback.tries < PATIENCE_TRIES:
            await self._inbox.postpone(callback, retry_delay(callback.tries))
        else:
            await self._inbox.postpone(callback, reconcile_delay(callback.age_seconds))

    async def _ask_again(self, callback: Callback) -> None:
        """Nothing is known of it yet: whoever knew the token is heard out, anybody else for some minutes."""
        if callback.attempt_id:
            await self._keep_asking(callback)
        elif callback.tries >= PATIENCE_TRIES:
            await self._inbox.finish(callback, "unknown")
        else:
            await self._inbox.postpone(callback, retry_delay(callback.tries))


@asynccontextmanager
async def renewing(inbox: Inbox, callback: Callback) -> AsyncIterator[None]:
    """Keep a taken webhook from other readers while inside."""
    task = asyncio.create_task(_renew(inbox, callback))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew(inbox: Inbox, callback: Callback) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(Unavailable):  # the next turn comes before the time ends
            await inbox.renew(callback)


def is_lost(generation: Generation, attempt: Attempt) -> bool:
    """True when the generation still waits to hear what became of this attempt."""
    waits = generation.state in UNANSWERED or generation.state is State.CANCELED
    return waits and generation.attempt_id == attempt.id and not generation.task_id and not attempt.task_id
