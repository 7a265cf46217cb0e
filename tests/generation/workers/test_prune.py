"""The prune worker deletes all rows that are past their time, batch by batch."""

from services.chassis.database import Database
from services.generation.model import State
from services.generation.stores.tables import generation, outbox
from services.generation.workers.prune import BATCH, Pruner
from tests.generation.builders import aged, brought, row_count
from tests.support.awaited import Awaited
from tests.support.sql import execute


async def test_a_sweep_deletes_all_that_is_past_its_time(database: Database, store: Awaited, pruner: Pruner) -> None:
    held = await brought(store, State.RUNNING)
    rows = [{"event_id": str(n), "generation_id": held.id, "snapshot": "{}", "create_ms": 0} for n in range(BATCH * 2)]
    await execute(database, outbox.insert(), rows)
    newest = (await store.events(0, 1))[0]
    await aged(database, newest.sequence + 3 * BATCH)
    await pruner.prune()

    assert await row_count(database, outbox) == 0
    assert await row_count(database, generation) == 1
