"""Has each picture copied before its temporary URL dies; a copy that fails is tried again for as long as that lives."""

import time
from collections.abc import Mapping
from dataclasses import replace

import structlog

from services.chassis import failpoints
from services.generation.answers import Copy, Gone, Later
from services.generation.keyring import Keys
from services.generation.model import Failure, Generation, Output, State
from services.generation.plan import Plan, retry_delay
from services.generation.ports import Archive, Change, GenerationStore, Provider

LOST = Failure("RESULT_LOST", "The picture was made, but it was gone upstream before it could be copied.")

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
            change = Change(due_in=retry_delay(generation.tries), tries=generation.tries, outputs=outputs)
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
                return replace(output, key=key, content_type=content_type, size=size, error="")
            case Gone(detail) if age_of(generation) > self._plan.lost_after:
                return replace(output, lost=True, error=detail)
            case Later(detail) if age_of(generation) > self._plan.reconcile:
                return replace(output, lost=True, error=detail)
            case Gone(detail) | Later(detail):
                return replace(output, error=detail if age_of(generation) > self._plan.copy_patience else "")

    async def copied(self, generation: Generation, output: Output) -> Copy | Gone | Later:
        """Copy one picture from its first URL, or where that is gone from a fresh one."""
        answer = await self._archive.keep(generation.id, output, "")
        return await self._by_fresh_link(generation, output) if isinstance(answer, Gone) else answer

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
    return time.time() - generation.store_ms / 1000
