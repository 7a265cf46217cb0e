"""What has served is deleted by age, a few rows at a time, and whoever comes too late for it is told."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from services.chassis.database import Database
from services.chassis.errors import OutOfRange
from services.generation.model import Callback, State
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.inbox import MAX_BARE, SqlInbox
from services.generation.stores.tables import generation, inbox, outbox
from services.generation.timing import DAY_SECONDS, Timing
from services.generation.workers.prune import BATCH, Pruner
from tests.generation.builders import brought

OLD = 31 * DAY_SECONDS


async def aged(database: Database, through: int, seconds: float = OLD) -> None:
    """The events up to a sequence, and every callback, are older by so much."""
    async with database.write() as connection:
        older = update(outbox).where(outbox.c.sequence <= through)
        await connection.execute(older.values(create_ms=outbox.c.create_ms - int(seconds * 1000)))
        await connection.execute(update(inbox).values(create_ms=inbox.c.create_ms - int(seconds * 1000)))


async def count(database: Database, table: object) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)  # type: ignore[arg-type]


async def test_old_events_go_and_young_ones_stay(database: Database, store: SqlGenerationStore) -> None:
    held = await brought(store, State.SUCCEEDED)
    told = await store.events(0, 100)
    await aged(database, told[2].sequence)

    assert await store.prune_events(30 * DAY_SECONDS, 100) == 3
    assert await store.events(0, 100) == told[3:]
    assert await store.prune_events(30 * DAY_SECONDS, 100) == 0
    assert await store.get(held.id) == held


async def test_a_batch_is_bounded_and_takes_the_oldest(database: Database, store: SqlGenerationStore) -> None:
    await brought(store, State.SUCCEEDED)
    told = await store.events(0, 100)
    await aged(database, told[-1].sequence)

    assert await store.prune_events(30 * DAY_SECONDS, 2) == 2
    assert [event.id for event in await store.events(0, 100)] == [event.id for event in told[2:]]


async def test_a_consumer_that_is_too_far_behind_is_told(database: Database, store: SqlGenerationStore) -> None:
    await brought(store, State.SUCCEEDED)
    first, second, third, *_ = await store.events(0, 100)
    await aged(database, second.sequence)
    await store.prune_events(30 * DAY_SECONDS, 100)

    with pytest.raises(OutOfRange) as told:
        await store.events(first.sequence, 100)
    assert (told.value.reason, told.value.metadata) == ("EVENTS_PRUNED", {"pruned_through": str(second.sequence)})
    assert (await store.events(second.sequence, 1)) == [third]
    assert (await store.events(0, 1)) == [third]


async def test_an_emptied_outbox_still_tells_who_comes_too_late(database: Database, store: SqlGenerationStore) -> None:
    await brought(store, State.RUNNING)
    told = await store.events(0, 100)
    await aged(database, told[-1].sequence)
    await store.prune_events(30 * DAY_SECONDS, 100)

    assert await count(database, outbox) == 0
    assert await store.events(told[-1].sequence, 100) == []
    with pytest.raises(OutOfRange):
        await store.events(told[-2].sequence, 100)


async def test_old_callbacks_go_once_they_are_closed(database: Database, inbox_store: SqlInbox) -> None:
    first = Callback("cb_1", "image-generated", "att_1", "task1", 200)
    open_, young = replace(first, id="cb_2", task_id="task2"), replace(first, id="cb_3", task_id="task3")
    for callback in (first, open_):
        await inbox_store.add(callback)
    await inbox_store.finish(first, "done")
    await aged(database, 0)
    await inbox_store.add(young)
    await inbox_store.finish(young, "done")

    assert await inbox_store.prune(30 * DAY_SECONDS, 100) == 1
    async with database.read() as connection:
        assert set(await connection.scalars(select(inbox.c.id))) == {"cb_2", "cb_3"}


async def test_a_sweep_deletes_all_that_is_past_its_time(
    database: Database, store: SqlGenerationStore, inbox_store: SqlInbox
) -> None:
    held = await brought(store, State.RUNNING)
    async with database.write() as connection:
        rows = [
            {"event_id": str(n), "generation_id": held.id, "snapshot": "{}", "create_ms": 0} for n in range(BATCH * 2)
        ]
        await connection.execute(outbox.insert(), rows)
    newest = (await store.events(0, 1))[0]
    await aged(database, newest.sequence + 3 * BATCH)
    await Pruner(store.prune_events, inbox_store.prune, Timing()).prune()

    assert await count(database, outbox) == 0
    assert await count(database, generation) == 1


async def test_of_closed_callbacks_without_a_token_only_the_newest_are_kept(
    database: Database, inbox_store: SqlInbox
) -> None:
    """Anybody can send them; those with a token are the provider's, and stay their time."""
    common = {"kind": "image-generated", "code": 200, "due_ms": 0, "verdict": "unknown"}
    tokened = {"id": "cb_tokened", "attempt_id": "att_1", "task_id": "task1", "create_ms": 10**15, **common}
    rows = [
        {"id": f"cb_{n}", "attempt_id": "", "task_id": f"task{n}", "create_ms": 2 * 10**15 + n, **common}
        for n in range(MAX_BARE + 3)
    ]
    async with database.write() as connection:
        await connection.execute(inbox.insert(), [tokened, *rows])
    removed = [await inbox_store.prune(30 * DAY_SECONDS, 500) for _ in range(2)]

    assert removed == [3, 0]
    async with database.read() as connection:
        oldest = list(await connection.scalars(select(inbox.c.id).order_by(inbox.c.create_ms).limit(2)))
    assert oldest == ["cb_tokened", "cb_3"]
