"""Restores records of ended generations from another stack, and copies again the results that were never copied."""

from collections.abc import Mapping
from dataclasses import replace

from catalogue import Model
from services.chassis.database import Database
from services.chassis.errors import Aborted, FailedPrecondition, invalid_field
from services.generation.model import FINAL, Generation, Output, State
from services.generation.outcomes import Copy, Gone, Later
from services.generation.ports import Change, FenceLost, GenerationStore
from services.generation.timing import Timing
from services.generation.workers.copy import Copier
from services.generation.workers.leases import Leases

MENDABLE = frozenset({State.SUCCEEDED, State.RESULT_LOST})  # in STORING the copy worker is at it already


class Restoration:
    """Restores and recopies generations that have ended."""

    def __init__(
        self, database: Database, store: GenerationStore, copier: Copier, models: Mapping[str, Model], timing: Timing
    ) -> None:
        self._database = database
        self._store = store
        self._copier = copier
        self._models = models
        self._leases = Leases(database, store, timing.lease)

    async def restore(self, old: Generation) -> bool:
        """Store a record from elsewhere; False when it is stored already.

        Raises:
            InvalidArgument: the record has not ended, or its model is not in the catalogue.
        """
        if old.state not in FINAL:
            sentence = "Only generations that have ended can be restored: others go on where they were ordered."
            raise invalid_field("state", sentence, "NOT_ENDED")
        spec = self._models.get(old.draft.model)
        if spec is None:
            raise invalid_field("model", "The record's model is not in the catalogue.", "UNKNOWN_MODEL")
        return await self._database.write(self._store.restore, replace(old, family=spec.family))

    async def recopy(self, identifier: str) -> Generation:
        """Try once to copy the results that a generation lacks; one that cannot be copied gets an error message.

        Raises:
            NotFound: no such generation.
            FailedPrecondition: the generation did not end with results (reason NO_PICTURES).
            Aborted: another worker holds the generation.
        """
        generation = await self._database.read(self._store.get, identifier)
        if generation.state not in MENDABLE:
            raise FailedPrecondition(f"A generation in {generation.state} has no pictures to copy.", "NO_PICTURES")
        if all(output.key for output in generation.outputs):
            return generation
        try:
            return await self._recopied(generation)
        except FenceLost:
            raise Aborted("The generation changed meanwhile. Try again.") from None

    async def _recopied(self, generation: Generation) -> Generation:
        async with self._leases.held(generation) as held:
            outputs = tuple([await self._copied(held, output) for output in held.outputs])
        if any(output.key for output in outputs):
            return await self._database.write(self._store.complete, held, outputs)
        return await self._database.write(self._store.touch, held, Change(outputs=outputs))

    async def _copied(self, held: Generation, output: Output) -> Output:
        if output.key:
            return output
        match await self._copier.copied(held, output):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size, error="", lost=False)
            case Gone(detail) | Later(detail):
                return replace(output, error=detail, lost=True)
