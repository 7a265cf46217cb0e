"""The timeline of a generation for operators, and the adoption of a task by an order whose answer was lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from services.chassis.parking import Parking, WorkFault
from services.generation.key_pool.pool import KeyPool
from services.generation.model import REMINDER, Attempt, Callback, Event, Generation, State, TimelineFacts
from services.generation.outcomes import NotVisible, PromptMismatch, Unreadable
from services.generation.ports import GenerationStore
from services.generation.workers.poll import Poller

OTHER_PROMPT = (
    "The provider shows this task with another prompt than the attempt's. Check that the ids belong together."
)
AWAITED = (State.RUNNING, State.STORING, State.UNKNOWN)  # states that go on by asking the account
RESUMES = "it goes on when its key is configured again, or another under this name in KIE_ACCOUNTS"


class EntryKind(StrEnum):
    """What a timeline entry is about."""

    STATE = auto()
    ATTEMPT = auto()
    ANSWER = auto()
    WEBHOOK = auto()
    REMINDER = auto()
    WAITING = auto()
    FAULT = auto()


@dataclass(frozen=True)
class TimelineEntry:
    """One event of the timeline, in words without prompts, keys or tokens."""

    time_ms: int
    kind: EntryKind
    text: str


class Timeline:
    """Explains generations to operators, and adopts tasks for them."""

    def __init__(
        self, database: Database, store: GenerationStore, poller: Poller, key_pool: KeyPool, parking: Parking
    ) -> None:
        self._database = database
        self._store = store
        self._parking = parking
        self._poller = poller
        self._key_pool = key_pool

    async def explain(self, identifier: str) -> Sequence[TimelineEntry]:
        """The timeline, oldest first. Raises NotFound."""
        generation = await self._database.read(self._store.get, identifier)
        facts = await self._database.read(self._store.timeline_facts, generation)
        entries = [state_entry(event) for event in facts.events]
        entries += [entry for attempt in facts.attempts for entry in attempt_entries(attempt)]
        entries += [callback_entry(callback) for callback in facts.callbacks]
        pieces = [generation.id, *(callback.id for callback in facts.callbacks)]
        entries += [fault_entry(fault) for fault in await self._parking.of(pieces)]
        entries.sort(key=lambda entry: entry.time_ms)
        return [*entries, *self._waits(generation, facts)]

    def _waits(self, generation: Generation, facts: TimelineFacts) -> Iterator[TimelineEntry]:
        """An entry for a task that waits because its account is not configured."""
        mine = next((attempt for attempt in facts.attempts if attempt.id == generation.attempt_id), None)
        if mine and generation.state in AWAITED and not self._key_pool.configured(mine.account, mine.key_print):
            text = f"for account {mine.account}, of which no key is configured; {RESUMES}"
            yield TimelineEntry(generation.update_ms, EntryKind.WAITING, text)

    async def adopt(self, attempt_id: str, task_id: str) -> Generation:
        """Give a task to an attempt whose answer was lost.

        Raises:
            NotFound: no such attempt, or the provider does not show the task to its account.
            AlreadyExists: another attempt owns the task: its token came with it, or the record may be its own.
            FailedPrecondition: the attempt has a task already, or the provider's record shows another prompt than
                the attempt's (reason PROMPT_MISMATCH).
            Unavailable: the provider did not answer.
        """
        attempt = await self._database.read(self._store.attempt, attempt_id)
        if attempt is None:
            raise NotFound("There is no attempt with this id. ExplainGeneration shows them.")
        if attempt.task_id:
            raise FailedPrecondition("This attempt was answered; it has a task already.")
        if await self._is_anothers(task_id):
            raise AlreadyExists("Another attempt owns this task.")
        generation = await self._database.read(self._store.get, attempt.generation_id)
        match await self._poller.recognise(attempt, generation, task_id):
            case PromptMismatch():
                raise FailedPrecondition(OTHER_PROMPT, "PROMPT_MISMATCH")
            case NotVisible():
                raise NotFound("The provider does not show this task to the attempt's account.", "TASK_NOT_FOUND")
            case Unreadable(detail):
                raise Unavailable(f"The provider could not be asked now: {detail}. Try again.", retry_after=5)
        if not await self._database.write(self._store.assign, attempt.id, task_id, self._poller.unknown_after):
            raise AlreadyExists("Another attempt owns this task.")
        return await self._database.write(self._store.accept, attempt.id, task_id, 0)

    async def _is_anothers(self, task_id: str) -> bool:
        """Whether another attempt owns the task; not when a reply named it by mistake, as the record shows."""
        holder = await self._database.read(self._store.attempt_of_task, task_id)
        if holder is None or await self._database.read(self._store.is_named_by_callback, holder.id, task_id):
            return holder is not None
        generation = await self._database.read(self._store.get, holder.generation_id)
        return not isinstance(await self._poller.recognise(holder, generation, task_id), PromptMismatch | NotVisible)


def state_entry(event: Event) -> TimelineEntry:
    """The entry of a change of state or progress."""
    generation = event.generation
    words = [str(generation.state), f"{generation.progress} %", f"{len(generation.outputs)} pictures"]
    if generation.failure:
        words.append(f"{generation.failure.reason} ({generation.failure.provider_code})")
    return TimelineEntry(event.create_ms, EntryKind.STATE, ", ".join(words))


def attempt_entries(attempt: Attempt) -> Iterator[TimelineEntry]:
    """The entries of an attempt and its answer."""
    text = f"{attempt.id} at {attempt.account} with key {attempt.key_print}"
    yield TimelineEntry(attempt.create_ms, EntryKind.ATTEMPT, text)
    if attempt.outcome:
        words = [attempt.id, attempt.outcome, attempt.task_id, attempt.detail]
        yield TimelineEntry(attempt.answer_ms, EntryKind.ANSWER, " ".join(word for word in words if word))


def callback_entry(callback: Callback) -> TimelineEntry:
    """The entry of a callback, or of our own reminder, and its verdict."""
    made = callback.verdict or f"open after {callback.tries} looks"
    if callback.kind == REMINDER:
        text = f"of {callback.task_id}, which is not awaited: {made}"
        return TimelineEntry(callback.create_ms, EntryKind.REMINDER, text)
    text = f"{callback.kind} for {callback.task_id}, code {callback.code}: {made}"
    return TimelineEntry(callback.create_ms, EntryKind.WEBHOOK, text)


def fault_entry(fault: WorkFault) -> TimelineEntry:
    """The entry of work at which our own code failed, and whether it is still tried."""
    now = "parked until it is released" if fault.parked else "tried again"
    text = f"{fault.work_id} in {fault.loop}, {fault.count} tries: {fault.cause}; {now}"
    return TimelineEntry(fault.last_ms, EntryKind.FAULT, text)
