"""News of a lost order outlasts an absence of the provider, and work is leased for as long as it goes on."""

import asyncio
import time
from dataclasses import replace

from sqlalchemy import select, update

from services.generation.callbacks.processor import FREQUENT_TRIES
from services.generation.model import Generation, State
from services.generation.outcomes import Ambiguous, Completed, Copy, InProgress, Unreadable
from services.generation.stores.inbox import TAKEN_SECONDS
from services.generation.stores.tables import generation as table
from services.generation.stores.tables import inbox
from services.generation.timing import RECONCILE_SECONDS
from services.generation.workers.copy import Copier
from tests.generation.harness import Harness, answering
from tests.support.polling import eventually

TASK = "task-lost"
LEASE_SECONDS = 0.3


async def called_back_while_the_provider_is_away(harness: Harness) -> Generation:
    """An order whose answer was lost, and whose callback has come; its record cannot be read."""
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    harness.provider.records[TASK] = Unreadable("HTTP 502 without JSON")
    created = await harness.order()
    await harness.submit()
    await harness.callback(TASK, harness.provider.submits[-1].token)
    return await harness.store.get(created.id)


async def asked(harness: Harness, **columns: int) -> str:
    """What becomes of the callback when it is read as if it had been tried, or kept, for that long."""
    async with harness.database.write() as connection:
        await connection.execute(update(inbox).values(due_ms=0, **columns))
    async with harness.delivering():
        await eventually(lambda: put_down(harness))
    async with harness.database.read() as connection:
        return str(await connection.scalar(select(inbox.c.verdict)))


async def put_down(harness: Harness) -> bool:
    """Whether the callback is closed, or left for longer than a reader holds it."""
    async with harness.database.read() as connection:
        row = (await connection.execute(select(inbox.c.verdict, inbox.c.due_ms))).one()
    return bool(row.verdict) or row.due_ms > (time.time() + TAKEN_SECONDS + 5) * 1000


async def test_a_lost_order_adopts_its_task_although_the_provider_was_away_for_hours(harness: Harness) -> None:
    generation = await called_back_while_the_provider_is_away(harness)
    assert await asked(harness, tries=FREQUENT_TRIES + 20) == ""

    harness.provider.records[TASK] = InProgress(5)
    assert await asked(harness, tries=FREQUENT_TRIES + 20) == "done"
    assert (await harness.store.get(generation.id)).task_id == TASK


async def test_nobody_asks_for_longer_than_the_provider_keeps_results(harness: Harness) -> None:
    await called_back_while_the_provider_is_away(harness)

    assert await asked(harness, tries=FREQUENT_TRIES + 20, create_ms=int(-RECONCILE_SECONDS * 1000)) == "unknown"


async def test_a_long_copy_keeps_its_lease_and_a_short_one_gives_it_back(harness: Harness) -> None:
    """A dead process's work waits one lease, so the lease is shorter than the work it protects."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def keep(*_: object) -> Copy:
        entered.set()
        await release.wait()
        return Copy("generated/x/0.png", "image/png", 7)

    harness.storage.copy = keep  # type: ignore[method-assign]
    harness.provider.records["task1"] = Completed(("https://temporary.example/a.png",))
    created = await harness.order()
    await harness.submit()
    await harness.let_time_pass()
    await harness.poll()
    workers = replace(harness.workers, timing=replace(harness.workers.timing, lease=LEASE_SECONDS))
    copier = Copier(workers.store, workers.storage, workers.key_pool, workers.providers, workers.timing)
    worker = asyncio.create_task(workers.lease_loop((State.STORING,), 1, copier.copy).run())
    await entered.wait()
    first = await lease_of(harness)
    await eventually(lambda: prolonged(harness, first))
    release.set()
    await eventually(lambda: ended(harness, created.id))
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert await lease_of(harness) == 0


async def lease_of(harness: Harness) -> int:
    async with harness.database.read() as connection:
        return int(await connection.scalar(select(table.c.lease_until_ms)) or 0)


async def prolonged(harness: Harness, first: int) -> bool:
    return await lease_of(harness) > first


async def ended(harness: Harness, identifier: str) -> bool:
    return (await harness.store.get(identifier)).state is State.SUCCEEDED
