"""Moves house: copies what the second place holds into the first while every link goes on working.

Nothing remembers how far a move is but the bytes themselves, so that it may be killed anywhere and started again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from enum import Enum, auto

from services.chassis.errors import DataLoss, FailedPrecondition
from services.storage.core import keys
from services.storage.core.register import is_kept, label_of
from services.storage.core.tally import Look, Problem, Progress, Tally
from services.storage.core.walks import stat_of_bytes, walked
from services.storage.model import Listed, Stat
from services.storage.ports import GUESTS, Backend, ObjectStore

ADVICE = "Set STORAGE_MODE to the place to move to and STORAGE_SECOND_MODE to the place to leave, then restart."


class Step(Enum):
    """One of the three steps of a move."""

    DRY_RUN = auto()
    COPY = auto()
    DELETE_SOURCE = auto()


class Migration:
    """The move from the second of the places to the first. `places` are in that order, by their modes."""

    def __init__(self, places: Mapping[str, Backend], store: ObjectStore) -> None:
        self._places = places
        self._store = store

    async def run(self, target_mode: str, step: Step) -> AsyncIterator[Progress]:
        """Look at everything that lies in the second place, and do the step.

        Raises:
            FailedPrecondition: the target is not the first of two places.
            Unavailable: a place cannot be reached; what was done is done.
        """
        target, source = self._between(target_mode)
        sizes = [listed.size async for listed in self._listed(source)]
        look = {Step.DRY_RUN: self._counted, Step.COPY: self._copied, Step.DELETE_SOURCE: self._left}[step]
        tally = Tally(len(sizes), sum(sizes))
        async for progress in walked(self._listed(source), lambda listed: look(source, target, listed), tally):
            yield progress
        yield tally.progress(complete=True)

    def _between(self, target_mode: str) -> tuple[Backend, Backend]:
        first, *others = self._places
        if not others or target_mode != first:
            raise FailedPrecondition(f"The move to {target_mode} is not prepared. {ADVICE}", "MOVE_NOT_PREPARED")
        return self._places[first], self._places[others[0]]

    async def _listed(self, source: Backend) -> AsyncIterator[Listed]:
        """What is to be moved; uploads that wait for their confirmation are served from where they are."""
        async for listed in source.keys(""):
            if not listed.key.startswith((f"{keys.PENDING}/", f"{GUESTS}{keys.PENDING}/")):
                yield listed

    async def _counted(self, source: Backend, target: Backend, listed: Listed) -> Look:
        """Count what is not there yet, by sizes alone; the copying compares hashes."""
        del source
        if listed.key.startswith(GUESTS):
            return Look(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        there = await target.size(listed.key)
        problem = Problem.TARGET_DIFFERS if there not in (None, listed.size) else None
        return Look(listed.key, listed.size, changed=there is None, problem=problem)

    async def _copied(self, source: Backend, target: Backend, listed: Listed) -> Look | None:
        if listed.key.startswith(GUESTS):  # the pair of places brings these home by itself
            return Look(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        wanted = await self._wanted(source, listed.key)
        there = await target.stat(listed.key)
        if wanted is None or there == wanted:
            return Look(listed.key, listed.size)
        if there:
            return Look(listed.key, listed.size, problem=Problem.TARGET_DIFFERS)
        problem = await self._copy(source, target, listed.key, wanted)
        return Look(listed.key, listed.size, changed=problem is None, problem=problem)

    async def _wanted(self, source: Backend, key: str) -> Stat | None:
        """What the bytes must be: by their row, or where there is none by what they are."""
        row = await self._store.get(key)
        return Stat(row.size, row.sha256) if row else await source.stat(key)

    async def _copy(self, source: Backend, target: Backend, key: str, wanted: Stat) -> Problem | None:
        """Copy bytes that are right; damaged ones stay where they are, so that they do not spread."""
        had_row = await is_kept(self._store, key)
        async with target.draft() as draft:
            with suppress(DataLoss):  # deleted since it was listed
                async for chunk in source.read(key, 0, 0):
                    await draft.write(chunk)
            if Stat(draft.size, draft.sha256) != wanted:
                return Problem.HASH_DIFFERS if await source.size(key) is not None else None
            if not await target.put(key, draft, await label_of(self._store, key)):
                return Problem.TARGET_DIFFERS
        # Whoever deletes ends the row first, and the bytes there before those here: one of us sees the other.
        gone = had_row or await source.size(key) is None
        if gone and not await is_kept(self._store, key):
            await target.delete(key)
        return None

    async def _left(self, source: Backend, target: Backend, listed: Listed) -> Look:
        """Remove from the source what the target has, by every byte of both."""
        if listed.key.startswith(GUESTS):
            return Look(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        here, there = await stat_of_bytes(source, listed.key), await stat_of_bytes(target, listed.key)
        if here and here == there:
            await source.delete(listed.key)
            return Look(listed.key, listed.size, changed=True)
        problem = Problem.TARGET_DIFFERS if there else Problem.NOT_IN_TARGET
        return Look(listed.key, listed.size, problem=problem if here else None)
