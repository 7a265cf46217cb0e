"""Looks after old records for operators: takes them in from elsewhere, and copies pictures that were never copied."""

from collections.abc import Mapping
from dataclasses import replace

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument
from services.generation.answers import Copy, Gone, Later
from services.generation.core.keeper import Keeper
from services.generation.core.worker import renewing
from services.generation.model import FINAL, Generation, ModelSpec, Output, State
from services.generation.plan import Plan
from services.generation.ports import Change, FenceLost, GenerationStore

MENDABLE = frozenset({State.SUCCEEDED, State.RESULT_LOST})  # STORING is at it already


class Records:
    """Records that are no longer under way."""

    def __init__(self, store: GenerationStore, keeper: Keeper, models: Mapping[str, ModelSpec], plan: Plan) -> None:
        self._store = store
        self._keeper = keeper
        self._models = models
        self._plan = plan

    async def restore(self, old: Generation) -> bool:
        """Take in a record; False when it is here already.

        Raises:
            InvalidArgument: it has not ended, or its model is none of ours.
        """
        if old.state not in FINAL:
            sentence = "Only generations that have ended can be taken in: others live where they were ordered."
            raise InvalidArgument(sentence, "NOT_ENDED", metadata={"field": "state"})
        spec = self._models.get(old.draft.model)
        if spec is None:
            raise InvalidArgument("Its model is not in our table.", "UNKNOWN_MODEL", metadata={"field": "model"})
        return await self._store.restore(replace(old, family=spec.family))

    async def recopy(self, identifier: str) -> Generation:
        """Try once to copy what a generation lacks; what cannot be copied now says why.

        Raises:
            NotFound: no such generation.
            FailedPrecondition: it did not end with pictures (reason NO_PICTURES).
            Aborted: somebody else is at work on it.
        """
        generation = await self._store.get(identifier)
        if generation.state not in MENDABLE:
            raise FailedPrecondition(f"A generation in {generation.state} has no pictures to copy.", "NO_PICTURES")
        if all(output.key for output in generation.outputs):
            return generation
        try:
            return await self._recopied(await self._store.hold(generation, self._plan.lease))
        except FenceLost:
            raise Aborted("The generation changed meanwhile. Try again.") from None

    async def _recopied(self, held: Generation) -> Generation:
        async with renewing(self._store, held, self._plan.lease):
            outputs = tuple([await self._copied(held, output) for output in held.outputs])
        if any(output.key for output in outputs):
            return await self._store.mend(held, outputs)
        return await self._store.touch(held, Change(outputs=outputs))

    async def _copied(self, held: Generation, output: Output) -> Output:
        if output.key:
            return output
        match await self._keeper.copied(held, output):
            case Copy(key, content_type, size):
                return replace(output, key=key, content_type=content_type, size=size, error="", lost=False)
            case Gone(detail) | Later(detail):
                return replace(output, error=detail, lost=True)
