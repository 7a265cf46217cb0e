"""News of a lost order outlasts an absence of the provider, and work is leased for as long as it goes on."""

import asyncio
import time

from sqlalchemy import select, update

from services.generation.answers import Ambiguous, Copy, Drawing, Drawn, Unreadable
from services.generation.core.keeper import Keeper
from services.generation.core.postman import PATIENCE_TRIES
from services.generation.core.worker import Round, Worker
from services.generation.model import Generation, State
from services.generation.plan import RECONCILE_SECONDS
from services.generation.stores.inbox import TAKEN_SECONDS
from services.generation.stores.tables import generation as table
from services.generation.stores.tables import inbox
from tests.generation.town import Town, answering
from tests.generation.waiting import eventually

TASK = "task-lost"
LEASE_SECONDS = 0.3


async def called_back_while_the_provider_is_away(town: Town) -> Generation:
    """An order whose answer was lost, and whose callback has come; its record cannot be read."""
    town.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    town.provider.records[TASK] = Unreadable("HTTP 502 without JSON")
    created = await town.order()
    await town.submit()
    await town.callback(TASK, town.provider.submits[-1].token)
    return await town.store.get(created.id)


async def asked(town: Town, **columns: int) -> str:
    """What becomes of the webhook when it is read as if it had been tried, or kept, for that long."""
    async with town.database.write() as connection:
        await connection.execute(update(inbox).values(due_ms=0, **columns))
    async with town.delivering():
        await eventually(lambda: put_down(town))
    async with town.database.read() as connection:
        return str(await connection.scalar(select(inbox.c.verdict)))


async def put_down(town: Town) -> bool:
    """Whether the webhook is closed, or left for longer than a reader holds it."""
    async with town.database.read() as connection:
        row = (await connection.execute(select(inbox.c.verdict, inbox.c.due_ms))).one()
    return bool(row.verdict) or row.due_ms > (time.time() + TAKEN_SECONDS + 5) * 1000


async def test_a_lost_order_is_reunited_although_the_provider_was_away_for_hours(town: Town) -> None:
    generation = await called_back_while_the_provider_is_away(town)
    assert await asked(town, tries=PATIENCE_TRIES + 20) == ""

    town.provider.records[TASK] = Drawing(5)
    assert await asked(town, tries=PATIENCE_TRIES + 20) == "done"
    assert (await town.store.get(generation.id)).task_id == TASK


async def test_nobody_asks_for_longer_than_the_provider_keeps_results(town: Town) -> None:
    await called_back_while_the_provider_is_away(town)

    assert await asked(town, tries=PATIENCE_TRIES + 20, create_ms=int(-RECONCILE_SECONDS * 1000)) == "unknown"


async def test_a_long_copy_keeps_its_lease_and_a_short_one_gives_it_back(town: Town) -> None:
    """A dead process's work waits one lease, so the lease is shorter than the work it protects."""
    release, entered = asyncio.Event(), asyncio.Event()

    async def keep(*_: object) -> Copy:
        entered.set()
        await release.wait()
        return Copy("generated/x/0.png", "image/png", 7)

    town.archive.keep = keep  # type: ignore[method-assign]
    town.provider.records["task1"] = Drawn(("https://temporary.example/a.png",))
    created = await town.order()
    await town.submit()
    await town.let_time_pass()
    await town.poll()
    crew = town.crew
    keeper = Keeper(crew.store, crew.archive, crew.keys, crew.providers, crew.plan)
    work = Round((State.STORING,), State.STORING, 1, LEASE_SECONDS)
    worker = asyncio.create_task(Worker(crew.store, crew.parking, crew.bell, work, keeper.keep).run())
    await entered.wait()
    first = await lease_of(town)
    await eventually(lambda: prolonged(town, first))
    release.set()
    await eventually(lambda: ended(town, created.id))
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert await lease_of(town) == 0


async def lease_of(town: Town) -> int:
    async with town.database.read() as connection:
        return int(await connection.scalar(select(table.c.lease_until_ms)) or 0)


async def prolonged(town: Town, first: int) -> bool:
    return await lease_of(town) > first


async def ended(town: Town, identifier: str) -> bool:
    return (await town.store.get(identifier)).state is State.SUCCEEDED
