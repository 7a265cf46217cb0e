"""Migrates objects from the second backend to the first while every link goes on working.

The bytes themselves are the only record of progress, so that a migration may be killed anywhere and started again.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from enum import Enum, auto

from services.chassis.database import Database
from services.chassis.errors import DataLoss, FailedPrecondition
from services.storage.core import keys
from services.storage.core.registration import is_kept, metadata_of
from services.storage.core.scan import Problem, Progress, ScanCounts, ScanResult, scanned, stat_of_bytes
from services.storage.model import ListedObject, Stat
from services.storage.ports import FAILOVER_PREFIX, Backend, ObjectStore

ADVICE = "Set STORAGE_MODE to the backend to move to and STORAGE_SECOND_MODE to the one to leave, then restart."


class Step(Enum):
    """The steps of a migration."""

    DRY_RUN = auto()
    COPY = auto()
    DELETE_SOURCE = auto()


class ObjectMigration:
    """Migrates from the second backend to the first. `by_mode` holds them in that order, by their modes."""

    def __init__(self, by_mode: Mapping[str, Backend], database: Database, store: ObjectStore) -> None:
        self._by_mode = by_mode
        self._database = database
        self._store = store

    async def run(self, target_mode: str, step: Step) -> AsyncIterator[Progress]:
        """Scan the second backend and do one step for each object.

        Raises:
            FailedPrecondition: the target is not the first of two backends.
            Unavailable: a backend cannot be reached; objects copied so far stay copied.
        """
        target, source = self._between(target_mode)
        sizes = [listed.size async for listed in self._listed(source)]
        check = {Step.DRY_RUN: self._counted, Step.COPY: self._copied, Step.DELETE_SOURCE: self._deleted_from_source}[
            step
        ]
        counts = ScanCounts(len(sizes), sum(sizes))
        async for progress in scanned(self._listed(source), lambda listed: check(source, target, listed), counts):
            yield progress
        yield counts.progress(complete=True)

    def _between(self, target_mode: str) -> tuple[Backend, Backend]:
        first, *others = self._by_mode
        if not others or target_mode != first:
            raise FailedPrecondition(f"The move to {target_mode} is not prepared. {ADVICE}", "MOVE_NOT_PREPARED")
        return self._by_mode[first], self._by_mode[others[0]]

    async def _listed(self, source: Backend) -> AsyncIterator[ListedObject]:
        """The objects to migrate: without uploads that wait for their confirmation, which stay where they are."""
        async for listed in source.keys(""):
            if not listed.key.startswith((f"{keys.PENDING}/", f"{FAILOVER_PREFIX}{keys.PENDING}/")):
                yield listed

    async def _counted(self, source: Backend, target: Backend, listed: ListedObject) -> ScanResult:
        """Count an object that the target lacks, by size alone; the copy step compares hashes."""
        del source
        if listed.key.startswith(FAILOVER_PREFIX):
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        there = await target.size(listed.key)
        problem = Problem.TARGET_DIFFERS if there not in (None, listed.size) else None
        return ScanResult(listed.key, listed.size, changed=there is None, problem=problem)

    async def _copied(self, source: Backend, target: Backend, listed: ListedObject) -> ScanResult | None:
        if listed.key.startswith(FAILOVER_PREFIX):  # the failover backend copies these back by itself
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        wanted = await self._wanted(source, listed.key)
        there = await target.stat(listed.key)
        if wanted is None or there == wanted:
            return ScanResult(listed.key, listed.size)
        if there:
            return ScanResult(listed.key, listed.size, problem=Problem.TARGET_DIFFERS)
        problem = await self._copy(source, target, listed.key, wanted)
        return ScanResult(listed.key, listed.size, changed=problem is None, problem=problem)

    async def _wanted(self, source: Backend, key: str) -> Stat | None:
        """The expected size and hash, from the row; without a row, from the source's bytes."""
        row = await self._database.read(self._store.get, key)
        return Stat(row.size, row.sha256) if row else await source.stat(key)

    async def _copy(self, source: Backend, target: Backend, key: str, wanted: Stat) -> Problem | None:
        """Copy an object whose bytes have the expected hash; a damaged object is not copied."""
        had_row = await is_kept(self._database, self._store, key)
        async with target.spool() as spool:
            with suppress(DataLoss):  # deleted since it was listed
                async for chunk in source.read(key, 0, 0):
                    await spool.write(chunk)
            if Stat(spool.size, spool.sha256) != wanted:
                return Problem.HASH_DIFFERS if await source.size(key) is not None else None
            if not await target.put(key, spool, await metadata_of(self._database, self._store, key)):
                return Problem.TARGET_DIFFERS
        # A deletion removes the row first, and the source's bytes before the target's: one of the two sees the other.
        gone = had_row or await source.size(key) is None
        if gone and not await is_kept(self._database, self._store, key):
            await target.delete(key)
        return None

    async def _deleted_from_source(self, source: Backend, target: Backend, listed: ListedObject) -> ScanResult:
        """Delete an object from the source when the target holds the same bytes, read whole from both."""
        if listed.key.startswith(FAILOVER_PREFIX):
            return ScanResult(listed.key, listed.size, problem=Problem.NOT_HOME_YET)
        here, there = await stat_of_bytes(source, listed.key), await stat_of_bytes(target, listed.key)
        if here and here == there:
            await source.delete(listed.key)
            return ScanResult(listed.key, listed.size, changed=True)
        problem = Problem.TARGET_DIFFERS if there else Problem.NOT_IN_TARGET
        return ScanResult(listed.key, listed.size, problem=problem if here else None)
