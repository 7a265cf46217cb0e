"""Has each picture copied before its temporary URL dies; a copy that fails is tried again for as long as that lives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from services.chassis import failpoints
from services.generation.answers import Copy, Drawn, Gone, Later, Unreadable
from services.generation.keyring import Keys
from services.generation.model import Failure, Generation, Output, State
from services.generation.plan import Plan, reconcile_delay, retry_delay
from services.generation.ports import Archive, Change, GenerationStore, Provider

LOST = Failure("RESULT_LOST", "The picture was made, but it was gone upstream before it could be copied.")
NO_RECORD = "its URL is gone, and the upstream's record was not read here"

GONE_SECONDS = 300.0  # within them a refusal is as a rule an edge's, and the picture is looked for every minute

logger = structlog.get_logger()


class Keeper:
    """Carries generations from STORING to SUCCEEDED."""

    def __init__(
        self, store: GenerationStore, archive: Archive, keys: Keys, providers: Mapping[str, Provider], plan: Plan
    ) -> None:
        self._store = store
        self._archive = archive
        self._keys = keys
        self._providers = providers
        self._plan = plan

    async def keep(self, generation: Generation) -> None:
        """Copy what a claimed generation still lacks."""
        outputs = tuple([await self._settled(generation, output) for output in generation.outputs])
        if not all(output.settled for output in outputs):
            change = Change(due_in=pause(generation, outputs), tries=generation.tries, outputs=outputs)
            await self._store.touch(generation, change)
        elif any(output.key for output in outputs):
            await failpoints.reach("storing.before_commit")
            await self._store.move(generation, State.SUCCEEDED, Change(outputs=outputs))
        else:
            await self._store.move(generation, State.RESULT_LOST, Change(outputs=outputs, failure=LOST))

    async def _settled(self, generation: Generation, output: Output) -> Output:
        if output.settled:
            return output
        match await self.copied(generation, output):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size, error="", gone_ms=0)
            case Gone(detail) if output.gone_ms and generation.since(output.gone_ms) >= self._plan.lost_after:
                return replace(output, lost=True, error=detail)
            case Gone(detail):
                gone_ms = output.gone_ms or generation.now_ms
                return replace(output, error=self._shown(generation, detail), gone_ms=gone_ms)
            case Later(detail) if age_of(generation) > self._plan.reconcile:
                return replace(output, lost=True, error=detail)
            case Later(detail):
                return replace(output, error=self._shown(generation, detail))

    def _shown(self, generation: Generation, detail: str) -> str:
        """Why a picture is not copied yet; nothing while that may be a matter of moments."""
        return detail if age_of(generation) > self._plan.copy_patience else ""

    async def copied(self, generation: Generation, output: Output) -> Copy | Gone | Later:
        """Copy one picture from its first URL, or where that is gone from a fresh link, or from its record read again.

        Gone only when all three have failed.
        """
        answer = await self._archive.keep(generation.id, output, "")
        if isinstance(answer, Gone):
            answer = await self._by_fresh_link(generation, output)
        return await self._by_record(generation, output, answer) if isinstance(answer, Gone) else answer

    async def _by_record(self, generation: Generation, output: Output, gone: Gone) -> Copy | Gone | Later:
        """Read the record again: it may name another URL by now. A record that cannot be read says nothing."""
        attempt = await self._store.attempt(generation.attempt_id)
        key = await self._keys.reader(attempt.account) if attempt else None
        if attempt is None:
            return Gone(NO_RECORD)
        if key is None:
            return Later("no key of the task's account works")
        match await self._providers[generation.family].fetch(generation.task_id, key):
            case Drawn(uris) if output.index < len(uris) and uris[output.index] != output.source_uri:
                return await self._archive.keep(generation.id, output, uris[output.index])
            case Unreadable(detail):
                return Later(f"its URL is gone, and the record could not be read: {detail}")
        return gone

    async def _by_fresh_link(self, generation: Generation, output: Output) -> Copy | Gone | Later:
        """Ask the provider for a direct link: results outlive their first URLs."""
        attempt = await self._store.attempt(generation.attempt_id)
        if attempt is None:
            return Gone("its URL is gone, and the provider was not asked for it here")
        key = await self._keys.reader(attempt.account, attempt.key_print)
        if key is None:
            return Later("no key of the task's account works")
        provider = self._providers[generation.family]
        link = await provider.download_link(generation.task_id, output.source_uri, key)
        return await self._archive.keep(generation.id, output, link) if isinstance(link, str) else link


def age_of(generation: Generation) -> float:
    """Seconds for which its pictures have been waiting to be copied."""
    return generation.since(generation.store_ms)


def pause(generation: Generation, outputs: Sequence[Output]) -> float:
    """Seconds until the next try: ever longer for what is gone, since days are spent on looking for it."""
    missing = [output for output in outputs if not output.settled]
    if all(output.gone_ms for output in missing):
        longest = max(generation.since(output.gone_ms) for output in missing)
        return max(retry_delay(generation.tries), reconcile_delay(longest) if longest > GONE_SECONDS else 0.0)
    return retry_delay(generation.tries)
