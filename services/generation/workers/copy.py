"""The copy worker: copies each result to storage before its temporary URL expires, and retries copies that fail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from services.chassis import failpoints
from services.chassis.database import Database
from services.generation.key_pool.pool import KeyPool
from services.generation.model import Failure, Generation, Output, State
from services.generation.outcomes import Completed, Copy, Gone, Later, Unreadable
from services.generation.ports import Change, GenerationStore, Provider, ResultStorage
from services.generation.timing import Timing, reconcile_delay, retry_delay

LOST = Failure("RESULT_LOST", "The picture was made, but it was gone upstream before it could be copied.")
NO_RECORD = "its URL is gone, and the upstream's record was not read here"

GONE_SECONDS = 300.0  # within them a refusal is as a rule a CDN's and passes, so the result is tried every minute

logger = structlog.get_logger()


class Copier:
    """Moves generations from STORING to SUCCEEDED, or to RESULT_LOST."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        storage: ResultStorage,
        key_pool: KeyPool,
        providers: Mapping[str, Provider],
        *,
        timing: Timing,
    ) -> None:
        self._database = database
        self._store = store
        self._storage = storage
        self._key_pool = key_pool
        self._providers = providers
        self._timing = timing

    async def copy(self, generation: Generation) -> None:
        """Copy the results that a claimed generation still lacks."""
        outputs = tuple([await self._settled(generation, output) for output in generation.outputs])
        if not all(output.settled for output in outputs):
            change = Change(due_in=pause(generation, outputs), tries=generation.tries, outputs=outputs)
            await self._database.write(self._store.touch, generation, change)
        elif any(output.key for output in outputs):
            await failpoints.reach("storing.before_commit")
            await self._database.write(self._store.move, generation, State.SUCCEEDED, Change(outputs=outputs))
        else:
            lost = Change(outputs=outputs, failure=LOST)
            await self._database.write(self._store.move, generation, State.RESULT_LOST, lost)

    async def _settled(self, generation: Generation, output: Output) -> Output:
        if output.settled:
            return output
        match await self.copied(generation, output):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size, error="", gone_ms=0)
            case Gone(detail) if output.gone_ms and generation.since(output.gone_ms) >= self._timing.lost_after:
                return replace(output, lost=True, error=detail)
            case Gone(detail):
                gone_ms = output.gone_ms or generation.now_ms
                return replace(output, error=self._shown(generation, detail), gone_ms=gone_ms)
            case Later(detail) if age_of(generation) > self._timing.reconcile:
                return replace(output, lost=True, error=detail)
            case Later(detail):
                return replace(output, error=self._shown(generation, detail))

    def _shown(self, generation: Generation, detail: str) -> str:
        """The message why a result is not copied yet; empty during the first `copy_patience` seconds."""
        return detail if age_of(generation) > self._timing.copy_patience else ""

    async def copied(self, generation: Generation, output: Output) -> Copy | Gone | Later:
        """Copy one result from its first URL, or when that is gone from a fresh link, or from its record read again.

        Gone only when all three have failed.
        """
        answer = await self._storage.copy(generation.id, output, "")
        if isinstance(answer, Gone):
            answer = await self._by_fresh_link(generation, output)
        return await self._by_record(generation, output, answer) if isinstance(answer, Gone) else answer

    async def _by_record(self, generation: Generation, output: Output, gone: Gone) -> Copy | Gone | Later:
        """Copy from the URL in the record read again, if that is another by now; an unreadable record is Later."""
        attempt = await self._database.read(self._store.attempt, generation.attempt_id)
        key = await self._key_pool.reader(attempt.account) if attempt else None
        if attempt is None:
            return Gone(NO_RECORD)
        if key is None:
            return Later("no key of the task's account works")
        match await self._providers[generation.family].fetch(generation.task_id, key):
            case Completed(uris) if output.index < len(uris) and uris[output.index] != output.source_uri:
                return await self._storage.copy(generation.id, output, uris[output.index])
            case Unreadable(detail):
                return Later(f"its URL is gone, and the record could not be read: {detail}")
        return gone

    async def _by_fresh_link(self, generation: Generation, output: Output) -> Copy | Gone | Later:
        """Copy from a fresh direct link: the provider keeps results longer than their first URLs."""
        attempt = await self._database.read(self._store.attempt, generation.attempt_id)
        if attempt is None:
            return Gone("its URL is gone, and the provider was not asked for it here")
        key = await self._key_pool.reader(attempt.account, attempt.key_print)
        if key is None:
            return Later("no key of the task's account works")
        provider = self._providers[generation.family]
        link = await provider.download_link(generation.task_id, output.source_uri, key)
        return await self._storage.copy(generation.id, output, link) if isinstance(link, str) else link


def age_of(generation: Generation) -> float:
    """Seconds since the generation entered STORING."""
    return generation.since(generation.store_ms)


def pause(generation: Generation, outputs: Sequence[Output]) -> float:
    """Seconds until the next try: ever longer once all missing results are gone, since they are tried for days."""
    missing = [output for output in outputs if not output.settled]
    if all(output.gone_ms for output in missing):
        longest = max(generation.since(output.gone_ms) for output in missing)
        return max(retry_delay(generation.tries), reconcile_delay(longest) if longest > GONE_SECONDS else 0.0)
    return retry_delay(generation.tries)
