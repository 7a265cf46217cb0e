"""Reads the inbox: a webhook wakes its generation, or reunites an order whose answer was lost with its task."""

import asyncio
import time

import structlog

from services.chassis import failpoints
from services.generation import metrics
from services.generation.answers import Drawn, Invisible, Unreadable
from services.generation.bell import Bell, Ear
from services.generation.core.poller import Poller, outputs_of
from services.generation.core.worker import LOOK_SECONDS
from services.generation.model import Attempt, Callback, State
from services.generation.plan import RECONCILE_SECONDS, reconcile_delay, retry_delay
from services.generation.ports import Change, GenerationStore

AT_ONCE = 20  # webhooks taken together
BEING_READ_SECONDS = 0.5  # a read takes less, as a rule
PATIENCE_TRIES = 12  # about ten minutes: longer than any reply that a webhook may overtake

logger = structlog.get_logger()


class Postman:
    """Works through verified webhooks."""

    def __init__(self, store: GenerationStore, bell: Bell, poller: Poller) -> None:
        self._store = store
        self._bell = bell
        self._poller = poller

    async def run(self) -> None:
        """Read the inbox until the bell closes."""
        with self._bell.listening("inbox") as ear:
            while not self._bell.closing:
                await self._round(ear)

    async def _round(self, ear: Ear) -> None:
        callbacks = await self._store.take_callbacks(AT_ONCE)
        await asyncio.gather(*map(self._handle, callbacks))
        if not callbacks:
            await ear.wait(LOOK_SECONDS)

    async def _handle(self, callback: Callback) -> None:
        """Deal with one. Whatever goes wrong, it is taken again, though not for ever, and its neighbours go on."""
        try:
            await self._deliver(callback)
        except Exception:  # a supervisor: one poisoned webhook must not stop its neighbours
            logger.exception("callback_failed", callback=callback.id, tries=callback.tries)
            await self._ask_again_later(callback)

    async def _deliver(self, callback: Callback) -> None:
        attempt = await self._addressee(callback)
        if attempt is None:
            await self._ask_again_later(callback)
        elif await self._is_foreign(callback, attempt):
            metrics.double_bill(attempt.id, attempt.task_id, callback.task_id)
            await self._store.finish_callback(callback, "foreign")
        elif not attempt.task_id:
            await self._reunite(callback, attempt)
        elif await self._tell(attempt):
            await self._store.finish_callback(callback, "done")
        else:
            await self._store.postpone_callback(callback, BEING_READ_SECONDS)

    async def _tell(self, attempt: Attempt) -> bool:
        """Wake the generation. The result of a canceled one is recorded, not copied and not shown."""
        generation = await self._store.get(attempt.generation_id)
        if generation.state is not State.CANCELED:
            return await self._store.wake(generation.id)
        record = await self._poller.read(attempt.id, generation.family, attempt.task_id)
        if isinstance(record, Drawn) and not generation.outputs:
            await self._store.touch(generation, Change(outputs=outputs_of(record)))
        return True

    async def _addressee(self, callback: Callback) -> Attempt | None:
        if callback.attempt_id:
            return await self._store.attempt(callback.attempt_id)
        return await self._store.attempt_of_task(callback.task_id)

    async def _is_foreign(self, callback: Callback, attempt: Attempt) -> bool:
        """True when the attempt has another task, or the task another attempt."""
        if attempt.task_id:
            return attempt.task_id != callback.task_id
        return await self._store.attempt_of_task(callback.task_id) is not None

    async def _reunite(self, callback: Callback, attempt: Attempt) -> None:
        """Adopt the task if the provider shows it to the account that ordered: the webhook itself proves nothing."""
        generation = await self._store.get(attempt.generation_id)
        record = await self._poller.read(attempt.id, generation.family, callback.task_id)
        if isinstance(record, Unreadable):
            await self._keep_asking(callback)
            return
        if isinstance(record, Invisible):
            await self._ask_again_later(callback)
            return
        await self._store.accept(attempt.id, callback.task_id, 0)
        await failpoints.reach("adopt.after")
        logger.info("reunited", generation=generation.id, attempt=attempt.id)
        await self._store.finish_callback(callback, "done")

    async def _keep_asking(self, callback: Callback) -> None:
        """The provider is away, not the task: ask ever less, for as long as it keeps results."""
        age = time.time() - callback.create_ms / 1000
        if age > RECONCILE_SECONDS:
            await self._store.finish_callback(callback, "unknown")
        elif callback.tries < PATIENCE_TRIES:
            await self._store.postpone_callback(callback, retry_delay(callback.tries))
        else:
            await self._store.postpone_callback(callback, reconcile_delay(age))

    async def _ask_again_later(self, callback: Callback) -> None:
        if callback.tries >= PATIENCE_TRIES:
            await self._store.finish_callback(callback, "unknown")
        else:
            await self._store.postpone_callback(callback, retry_delay(callback.tries))
