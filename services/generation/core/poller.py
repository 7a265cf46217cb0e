"""Reads the provider's record, which is the truth, until it tells the end; overdue tasks are looked at ever less."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog

from services.chassis import failpoints
from services.generation.answers import Broken, Drawing, Drawn, Foreign, Invisible, Record, Unasked, Unreadable
from services.generation.cooling import UNACCEPTED
from services.generation.core.discretion import discreet
from services.generation.keyring import Key, Keys
from services.generation.model import Attempt, Failure, Generation, Output, State
from services.generation.plan import FOR_EVER_SECONDS, Plan, poll_delay, reconcile_delay
from services.generation.ports import Change, GenerationStore, Provider

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
    """Carries generations from RUNNING to the provider's verdict."""

    def __init__(self, store: GenerationStore, keys: Keys, providers: Mapping[str, Provider], plan: Plan) -> None:
        self._store = store
        self._keys = keys
        self._providers = providers
        self._plan = plan

    @property
    def unknown_after(self) -> float:
        """How long a lost answer's callback is awaited, in seconds."""
        return self._plan.unknown_after

    async def poll(self, generation: Generation) -> None:
        """Look once at a claimed generation's record."""
        record = await self.read(generation.attempt_id, generation.family, generation.task_id)
        await failpoints.reach("poll.reply")
        match discreet(record, generation.draft.prompt):
            case Drawn() as record:
                await self._store.move(generation, State.STORING, Change(progress=100, outputs=outputs_of(record)))
                await failpoints.reach("running.final")
            case Broken(code, message):
                failure = Failure("PROVIDER_FAILED", message, code)
                await self._store.move(generation, State.FAILED, Change(failure=failure))
                await failpoints.reach("running.final")
            case Drawing(progress):
                await self._wait(generation, progress)
            case Unasked():
                await self._wait(generation, None, ACCOUNT_MISSING)
            case Invisible() | Unreadable():
                await self._wait(generation, None)

    async def read(self, attempt_id: str, family: str, task_id: str) -> Record:
        """The record of a task, read with a key of the account that ordered it."""
        provider = self._providers[family]
        return await self._asked(await self._store.attempt(attempt_id), partial(provider.fetch, task_id))

    async def recognise(self, attempt: Attempt, generation: Generation, task_id: str) -> Record | Foreign:
        """The same of a task that is said to be an attempt's; Foreign when it was ordered with another prompt."""
        provider = self._providers[generation.family]
        return await self._asked(attempt, partial(provider.recognise, task_id, generation.draft))

    async def _asked(self, attempt: Attempt | None, ask: Callable[[Key], Awaitable[R]]) -> R | Unreadable:
        """Ask with a key of the attempt's account, or a sibling of it."""
        if attempt and not self._keys.configured(attempt.account, attempt.key_print):
            return Unasked(f"no key of account {attempt.account} is configured")
        while attempt and (key := await self._keys.reader(attempt.account, attempt.key_print)):
            record = await ask(key)
            if not (isinstance(record, Unreadable) and record.code in UNACCEPTED):
                return record
            await self._keys.refused(key, record.code, None)
        return Unreadable("no key of the task's account works")

    async def _wait(self, generation: Generation, progress: int | None, why: Failure = TIMED_OUT) -> None:
        age = generation.since(generation.submit_ms)
        if age > self._plan.reconcile:
            await self._store.touch(generation, Change(due_in=FOR_EVER_SECONDS))
        elif generation.state is State.UNKNOWN:
            await self._store.touch(generation, Change(due_in=reconcile_delay(age), progress=progress))
        elif age > self._plan.timeout:
            change = Change(due_in=reconcile_delay(age), progress=progress, failure=why)
            await self._store.move(generation, State.UNKNOWN, change)
        else:
            delay = poll_delay(generation.tries)
            await self._store.touch(generation, Change(due_in=delay, tries=generation.tries, progress=progress))


def outputs_of(record: Drawn) -> tuple[Output, ...]:
    """The pictures of a record, none of them copied yet."""
    return tuple(Output(index, uri) for index, uri in enumerate(record.uris))
