"""Late results: results that a generation no longer waits for, of an earlier attempt or of an attempt's second task."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import structlog

from services.chassis.database import Database
from services.generation import metrics
from services.generation.model import RESULTLESS, Attempt, Generation, Output, State
from services.generation.outcomes import Completed, Copy, Gone, Later
from services.generation.ports import Change, GenerationStore, ResultStorage
from services.generation.timing import Timing
from services.generation.workers.leases import Leases
from services.generation.workers.poll import outputs_of

COPIES_AT_ONCE = 4  # of extra results; far fewer than the callbacks in work, so that they never delay these

logger = structlog.get_logger()


class LateResults:
    """Delivers the first success, whichever task it is of; results that come after it are added as extra outputs."""

    def __init__(self, database: Database, store: GenerationStore, storage: ResultStorage, timing: Timing) -> None:
        self._database = database
        self._store = store
        self._storage = storage
        self._leases = Leases(database, store, timing.lease)
        self._copies = asyncio.Semaphore(COPIES_AT_ONCE)

    async def handle(self, generation: Generation, attempt: Attempt, task_id: str, record: Completed) -> str:
        """Deliver, add or record the results of a task. Returns the verdict, empty when it must be tried again.

        Raises:
            FenceLost: the generation changed meanwhile, or another worker holds it.
        """
        fresh = bool(extras_of(generation, record))
        done = await self._handled(generation, attempt, task_id, record)
        if done and fresh:
            metrics.late_result(generation.id, attempt.id, task_id, done)
        second = bool(attempt.task_id) and task_id != attempt.task_id
        if done == "delivered" and second:  # an id that only a reply named may have been wrong
            second = await self._database.read(self._store.is_named_by_callback, attempt.id, attempt.task_id)
        if done and fresh and second:
            metrics.double_bill(attempt.id, attempt.task_id, task_id)
        return done

    async def _handled(self, generation: Generation, attempt: Attempt, task_id: str, record: Completed) -> str:
        if generation.state in RESULTLESS:
            await self._database.write(self._store.deliver, generation, attempt.id, task_id, outputs_of(record))
            return "delivered"
        if generation.state is State.SUCCEEDED:
            return await self._add_extra(generation, record)
        return await self._record(generation, record) if generation.state is State.CANCELED else ""

    async def _record(self, generation: Generation, record: Completed) -> str:
        """Record the results of a canceled order; they are neither copied nor shown."""
        if not generation.outputs:
            await self._database.write(self._store.touch, generation, Change(outputs=outputs_of(record)))
        return "recorded"

    async def _add_extra(self, generation: Generation, record: Completed) -> str:
        """Copy results as extra outputs. The lease keeps their indexes free of other late results.

        A copy may take minutes, so only COPIES_AT_ONCE run at once; any other is tried again later.
        """
        if self._copies.locked():
            return ""
        async with self._copies:
            return await self._copied_extra(generation, record)

    async def _copied_extra(self, generation: Generation, record: Completed) -> str:
        async with self._leases.held(generation) as held:
            copies = [await self._copied(held, output) for output in extras_of(held, record)]
        kept = tuple(output for output in copies if output)
        complete = len(kept) == len(copies)
        await self._database.write(self._store.touch, held, Change(outputs=kept if complete else ()))
        return "extra" if complete else ""

    async def _copied(self, generation: Generation, output: Output) -> Output | None:
        """The output with its copy; None when it must be tried again."""
        match await self._storage.copy(generation.id, output, ""):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size)
            case Gone(detail) | Later(detail):
                logger.info("extra_postponed", generation=generation.id, cause=detail)
                return None


def extras_of(generation: Generation, record: Completed) -> list[Output]:
    """The results of a record that a generation does not have, as outputs after those it has.

    They are copied before they have rows. Their files' names come from the first one's, which is kept, and from their
    URL, which outsiders do not know: a repeated copy finds the first.
    """
    stem = generation.outputs[0].file_stem if generation.outputs else ""
    known = {output.source_uri for output in generation.outputs}
    new = [uri for uri in record.uris if uri not in known]
    return [
        Output(len(generation.outputs) + number, uri, file_stem=stem and _extra_stem(stem, uri))
        for number, uri in enumerate(new)
    ]


def _extra_stem(stem: str, uri: str) -> str:
    return sha256(f"{stem} {uri}".encode()).hexdigest()[: len(stem)]
