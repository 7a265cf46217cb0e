"""Brings home pictures that a generation no longer waits for: of an earlier attempt, or of a second task of one."""

import asyncio
from dataclasses import replace
from hashlib import sha256

import structlog

from services.generation import metrics
from services.generation.answers import Copy, Drawn, Gone, Later
from services.generation.core.poller import outputs_of
from services.generation.core.worker import renewing
from services.generation.model import RESULTLESS, Attempt, Generation, Output, State
from services.generation.plan import Plan
from services.generation.ports import Archive, Change, GenerationStore

COPIES_AT_ONCE = 4  # of late results beside others; far fewer than the webhooks in hand, which so are never held up

logger = structlog.get_logger()


class Latecomers:
    """The first success is delivered, whichever task it is of; what comes after it is kept beside it."""

    def __init__(self, store: GenerationStore, archive: Archive, plan: Plan) -> None:
        self._store = store
        self._archive = archive
        self._plan = plan
        self._places = asyncio.Semaphore(COPIES_AT_ONCE)

    async def bring(self, generation: Generation, attempt: Attempt, task_id: str, record: Drawn) -> str:
        """Deliver, keep or record the pictures of a task; what was done in a word, empty when it must wait.

        Raises:
            FenceLost: the generation changed meanwhile, or somebody is at work on it.
        """
        fresh = bool(extras_of(generation, record))
        done = await self._brought(generation, attempt, task_id, record)
        if done and fresh:
            metrics.came_late(generation.id, attempt.id, task_id, done)
        second = bool(attempt.task_id) and task_id != attempt.task_id
        if done == "delivered" and second:  # an id that only a reply named may have been wrong
            second = await self._store.is_told(attempt.id, attempt.task_id)
        if done and fresh and second:
            metrics.double_bill(attempt.id, attempt.task_id, task_id)
        return done

    async def _brought(self, generation: Generation, attempt: Attempt, task_id: str, record: Drawn) -> str:
        if generation.state in RESULTLESS:
            await self._store.deliver(generation, attempt.id, task_id, outputs_of(record))
            return "delivered"
        if generation.state is State.SUCCEEDED:
            return await self._keep_beside(generation, record)
        return await self._record(generation, record) if generation.state is State.CANCELED else ""

    async def _record(self, generation: Generation, record: Drawn) -> str:
        """Note what became of a canceled order; its pictures are neither copied nor shown."""
        if not generation.outputs:
            await self._store.touch(generation, Change(outputs=outputs_of(record)))
        return "recorded"

    async def _keep_beside(self, generation: Generation, record: Drawn) -> str:
        """Copy pictures beside those that are there. The lease keeps their places free of other latecomers.

        A copy may take minutes, so only a few are made at once; for any other it is not its time yet.
        """
        if self._places.locked():
            return ""
        async with self._places:
            return await self._copied_beside(generation, record)

    async def _copied_beside(self, generation: Generation, record: Drawn) -> str:
        held = await self._store.hold(generation, self._plan.lease)
        async with renewing(self._store, held, self._plan.lease):
            copies = [await self._copied(held, output) for output in extras_of(held, record)]
        kept = tuple(output for output in copies if output)
        complete = len(kept) == len(copies)
        await self._store.touch(held, Change(outputs=kept if complete else ()))
        return "extra" if complete else ""

    async def _copied(self, generation: Generation, output: Output) -> Output | None:
        """The picture with its copy; None when it must be tried again."""
        match await self._archive.keep(generation.id, output, ""):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size)
            case Gone(detail) | Later(detail):
                logger.info("extra_postponed", generation=generation.id, cause=detail)
                return None


def extras_of(generation: Generation, record: Drawn) -> list[Output]:
    """The pictures of a record that a generation does not have, in the places after those it has.

    They are copied before they have rows. Their files' names come from the first one's, which is kept, and from their
    URL, which strangers do not know: a repeated copy finds the first.
    """
    stem = generation.outputs[0].file_stem if generation.outputs else ""
    known = {output.source_uri for output in generation.outputs}
    new = [uri for uri in record.uris if uri not in known]
    return [
        Output(len(generation.outputs) + number, uri, file_stem=stem and _stem_beside(stem, uri))
        for number, uri in enumerate(new)
    ]


def _stem_beside(stem: str, uri: str) -> str:
    return sha256(f"{stem} {uri}".encode()).hexdigest()[: len(stem)]
