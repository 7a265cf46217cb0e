"""Takes in pictures that others laid where ours lie, an older site's above all: each gets a row, its bytes stay."""

from collections.abc import AsyncIterator

from services.chassis.errors import DataLoss, InvalidArgument
from services.chassis.names import is_key
from services.storage.core import keys
from services.storage.core.garbage import LEAST_AGE
from services.storage.core.intake import Intake, pour
from services.storage.core.restoring import PREFIXES
from services.storage.core.tally import Look, Problem, Progress, Tally
from services.storage.core.verification import OLD_RESULTS
from services.storage.core.walks import Pair, paired, rows, walked
from services.storage.model import Lane, Listed, Source, Stat, StoredObject
from services.storage.ports import Backend, ObjectStore

ADOPTED = (*PREFIXES, OLD_RESULTS)  # where the seeds' systems keep pictures that the public may see


class Adoption:
    """What gives pictures without a row the row that they lack."""

    def __init__(self, backend: Backend, store: ObjectStore, intake: Intake, max_bytes: int, clock: keys.Clock) -> None:
        self._backend = backend
        self._store = store
        self._intake = intake
        self._max_bytes = max_bytes
        self._clock = clock

    async def run(self, prefix: str, *, adopt: bool) -> AsyncIterator[Progress]:
        """Look at every key below a prefix; without `adopt` only count what has no row.

        Raises:
            InvalidArgument: no picture of the public lies there.
        """
        if prefix and not prefix.startswith(ADOPTED):
            sentence = f"prefix must begin with one of {', '.join(ADOPTED)}."
            raise InvalidArgument(sentence, metadata={"field": "prefix"})
        tally, before = Tally(0, 0), self._clock() / 1000 - LEAST_AGE

        async def look(pair: Pair) -> Look | None:
            row, listed = pair
            if row or listed is None or not listed.key.startswith(ADOPTED) or listed.modified > before:
                return None
            return await self._looked(listed, adopt=adopt)

        async for progress in walked(paired(rows(self._store, prefix), self._backend.keys(prefix)), look, tally):
            yield progress
        yield tally.progress(complete=True)

    async def _looked(self, listed: Listed, *, adopt: bool) -> Look | None:
        if not is_key(listed.key) or listed.size > self._max_bytes:
            return Look(listed.key, listed.size, problem=Problem.NOT_A_PICTURE)
        if not adopt:
            return Look(listed.key, listed.size, changed=True)
        async with self._backend.draft() as draft:
            try:
                await pour(self._backend.read(listed.key, 0, 0), draft, self._max_bytes)
                picture = await self._intake.judged(draft, Lane.CLIENTS)
            except DataLoss:  # removed since it was listed
                return None
            except InvalidArgument:
                return Look(listed.key, listed.size, problem=Problem.NOT_A_PICTURE)
            source = Source.UPLOAD if listed.key.startswith(f"{keys.UPLOADS}/") else Source.IMPORT
            new = StoredObject(listed.key, picture.kind.content_type, draft.size, draft.sha256, source)
            await self._store.add(picture.described(new))
        if await self._backend.stat(listed.key) != Stat(new.size, new.sha256):  # its owner removed or changed it
            await self._store.delete(listed.key)
            return None
        return Look(listed.key, listed.size, changed=True)
