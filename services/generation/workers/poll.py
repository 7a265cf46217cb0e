"""The poll worker: reads the provider's record of a task until it is final; overdue tasks are read ever less often."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog

from catalogue import Model
from services.chassis import failpoints
from services.chassis.database import Database
from services.generation.key_pool.cooldowns import UNACCEPTED
from services.generation.key_pool.pool import Key, KeyPool
from services.generation.model import Attempt, Failure, Generation, Output, State
from services.generation.outcomes import (
    Completed,
    InProgress,
    NoAccountKey,
    NotVisible,
    PromptMismatch,
    Record,
    TaskFailed,
    Unreadable,
    redacted,
)
from services.generation.ports import Change, GenerationStore, Provider
from services.generation.timing import FOR_EVER_SECONDS, Timing, poll_delay, reconcile_delay

TIMED_OUT = Failure(
    "TIMED_OUT", "The upstream did not finish in time. If the picture still arrives, it will be shown here."
)
ACCOUNT_MISSING = Failure(
    "ACCOUNT_MISSING",
    "The upstream account that took this order is not configured here at the moment. Nothing more is billed; the "
    "picture will be shown here once the operator configures the account again.",
)

logger = structlog.get_logger()
R = TypeVar("R")


class Poller:
    """Moves generations from RUNNING by what the provider's record shows."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        key_pool: KeyPool,
        providers: Mapping[str, Provider],
        models: Mapping[str, Model],
        *,
        timing: Timing,
    ) -> None:
        self._database = database
        self._store = store
        self._key_pool = key_pool
        self._providers = providers
        self._models = models
        self._timing = timing

    @property
    def unknown_after(self) -> float:
        """How long the callback of a lost answer is awaited, in seconds."""
        return self._timing.unknown_after

    async def poll(self, generation: Generation) -> None:
        """Read a claimed generation's record once."""
        record = await self.read(generation.attempt_id, generation.family, generation.task_id)
        await failpoints.reach("poll.reply")
        match redacted(record, generation.draft.prompt):
            case Completed() as record:
                drawn = Change(progress=100, outputs=outputs_of(record))
                await self._database.write(self._store.move, generation, State.STORING, drawn)
                await failpoints.reach("running.final")
            case TaskFailed(code, message):
                failure = Failure("PROVIDER_FAILED", message, code)
                await self._database.write(self._store.move, generation, State.FAILED, Change(failure=failure))
                await failpoints.reach("running.final")
            case InProgress(progress):
                await self._wait(generation, progress)
            case NoAccountKey():
                await self._wait(generation, None, ACCOUNT_MISSING)
            case NotVisible() | Unreadable():
                await self._wait(generation, None)

    async def read(self, attempt_id: str, family: str, task_id: str) -> Record:
        """The record of a task, read with a key of the account that ordered it."""
        provider = self._providers[family]
        attempt = await self._database.read(self._store.attempt, attempt_id)
        return await self._asked(attempt, partial(provider.fetch, task_id))

    async def recognise(self, attempt: Attempt, generation: Generation, task_id: str) -> Record | PromptMismatch:
        """The record of a task that may be an attempt's; PromptMismatch when it was ordered with another prompt."""
        provider = self._providers[generation.family]
        return await self._asked(attempt, partial(provider.recognise, task_id, generation.draft))

    async def _asked(self, attempt: Attempt | None, ask: Callable[[Key], Awaitable[R]]) -> R | Unreadable:
        """Call the provider with the attempt's key, or another key of its account."""
        if attempt and not self._key_pool.configured(attempt.account, attempt.key_print):
            return NoAccountKey(f"no key of account {attempt.account} is configured")
        while attempt and (key := await self._key_pool.reader(attempt.account, attempt.key_print)):
            record = await ask(key)
            if not (isinstance(record, Unreadable) and record.code in UNACCEPTED):
                return record
            await self._key_pool.refused(key, record.code, None)
        return Unreadable("no key of the task's account works")

    async def _wait(self, generation: Generation, progress: int | None, why: Failure = TIMED_OUT) -> None:
        age = generation.since(generation.submit_ms)
        if age > self._timing.reconcile:
            await self._database.write(self._store.touch, generation, Change(due_in=FOR_EVER_SECONDS))
        elif generation.state is State.UNKNOWN:
            later = Change(due_in=reconcile_delay(age), progress=progress)
            await self._database.write(self._store.touch, generation, later)
        elif age > self._patience(generation.draft.model):
            change = Change(due_in=reconcile_delay(age), progress=progress, failure=why)
            await self._database.write(self._store.move, generation, State.UNKNOWN, change)
        else:
            soon = Change(due_in=poll_delay(generation.tries), tries=generation.tries, progress=progress)
            await self._database.write(self._store.touch, generation, soon)

    def _patience(self, name: str) -> float:
        """Seconds that an order of a model may take; of a model that left the catalogue, the longest of those in it."""
        models = [self._models[name]] if name in self._models else self._models.values()
        return max(model.patience_seconds for model in models)


def outputs_of(record: Completed) -> tuple[Output, ...]:
    """The pictures of a record, none of them copied yet."""
    return tuple(Output(index, uri) for index, uri in enumerate(record.uris))
