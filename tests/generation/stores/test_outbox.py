"""The outbox holds an event of each change, in order, until it is pruned by age; a late reader is refused."""

import asyncio

import orjson
import pytest
from sqlalchemy import select, text, update

from services.chassis.database import Database, Transaction, connect_database
from services.chassis.errors import OutOfRange
from services.chassis.settings import CommonSettings
from services.generation.model import Event, Generation, State
from services.generation.ports import Change
from services.generation.stores import outbox
from services.generation.stores.generations import SqlGenerationStore
from services.generation.stores.tables import outbox as outbox_table
from services.generation.timing import DAY_SECONDS
from services.generation.workers.prune import Pruner
from tests.generation.builders import aged, brought, ordered, row_count
from tests.generation.conftest import SERVICE
from tests.support.awaited import Awaited
from tests.support.polling import eventually
from tests.support.sql import fetch_value
from tests.support.transactions import open_transaction

WRITERS, ORDERS = 10, 8


async def read_all(store: Awaited, wanted: int, batch: int) -> list[Event]:
    """Read on from the last sequence, as a consumer does, while others write."""
    read: list[Event] = []
    while len(read) < wanted:
        found = await store.events(read[-1].sequence if read else 0, batch)
        read += found
        await asyncio.sleep(0)
    return read


async def write(store: Awaited) -> list[str]:
    return [(await ordered(store)).id for _ in range(ORDERS)]


async def test_a_consumer_misses_nothing_while_others_write(store: Awaited) -> None:
    """On PostgreSQL sequences are given before the commit: without care a reader would pass one over."""
    reading = asyncio.create_task(read_all(store, WRITERS * ORDERS, 7))
    written = await asyncio.gather(*(write(store) for _ in range(WRITERS)))
    async with asyncio.timeout(30):
        read = await reading

    seen = [event.generation.id for event in read]
    assert sorted(seen) == sorted(identifier for part in written for identifier in part)
    sequences = [event.sequence for event in read]
    assert sequences == sorted(set(sequences))
    assert len({event.id for event in read}) == len(read)


async def test_an_event_is_seen_only_after_every_event_before_it(
    store: Awaited, database: Database, engine: CommonSettings
) -> None:
    """A writer that took its sequence first and commits last holds up whoever comes after."""
    first = await ordered(store)

    def append(transaction: Transaction) -> None:
        outbox.append(transaction, first)

    async with connect_database(engine, SERVICE) as replica, open_transaction(replica, append):
        second = asyncio.create_task(ordered(store))
        await eventually(lambda: stopped(database, second))
        early = await database.read(SqlGenerationStore().events, 0, 100)
    await second
    late = await store.events(early[-1].sequence, 100)

    assert [event.generation.id for event in early] == [first.id]
    assert [event.generation.id for event in late] == [first.id, second.result().id]


async def stopped(database: Database, writer: asyncio.Task[Generation]) -> bool:
    """Whether a writer waits for its turn or has come through; SQLite has one writer at a time."""
    if database.is_sqlite or writer.done():
        return True
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return bool(await fetch_value(database, waiting))


async def test_the_events_of_a_generation_are_its_story(store: Awaited) -> None:
    await brought(store, State.UNKNOWN)

    states = [event.generation.state for event in await store.events(0, 100)]
    assert states == [State.READY, State.DIALING, State.SENDING, State.AMBIGUOUS, State.UNKNOWN]


async def test_an_event_keeps_what_was_then(store: Awaited) -> None:
    held = await brought(store, State.RUNNING)
    then = await store.touch(held, Change(progress=10))
    await store.move(then, State.FAILED)

    assert (await store.events(0, 100))[-2].generation == then


async def test_an_event_of_a_release_that_kept_more_of_a_generation_is_read(store: Awaited, database: Database) -> None:
    """Until 2026-11-30 a generation held what only the answer to its order tells."""
    then = await brought(store, State.READY)

    def age(transaction: Transaction) -> None:
        kept = orjson.loads(str(transaction.scalar(select(outbox_table.c.snapshot))))
        older = orjson.dumps({**kept, "joined": False, "quota": None}).decode()
        transaction.execute(update(outbox_table).values(snapshot=older))

    await database.write(age)

    assert [event.generation for event in await store.events(0, 100)] == [then]


async def test_a_reader_goes_on_where_it_stopped(store: Awaited) -> None:
    await brought(store, State.RUNNING)
    everything = await store.events(0, 100)

    assert await store.events(0, 2) == everything[:2]
    assert await store.events(everything[1].sequence, 100) == everything[2:]
    assert await store.events(everything[-1].sequence, 100) == []


async def test_old_events_go_and_young_ones_stay(database: Database, store: Awaited, pruner: Pruner) -> None:
    held = await brought(store, State.SUCCEEDED)
    events = await store.events(0, 100)
    await aged(database, events[2].sequence)

    assert await pruner.prune_events(30 * DAY_SECONDS, 100) == 3
    assert await store.events(0, 100) == events[3:]
    assert await pruner.prune_events(30 * DAY_SECONDS, 100) == 0
    assert await store.get(held.id) == held


async def test_a_batch_is_bounded_and_takes_the_oldest(database: Database, store: Awaited, pruner: Pruner) -> None:
    await brought(store, State.SUCCEEDED)
    events = await store.events(0, 100)
    await aged(database, events[-1].sequence)

    assert await pruner.prune_events(30 * DAY_SECONDS, 2) == 2
    assert [event.id for event in await store.events(0, 100)] == [event.id for event in events[2:]]


async def test_a_consumer_that_is_too_far_behind_is_told(database: Database, store: Awaited, pruner: Pruner) -> None:
    await brought(store, State.SUCCEEDED)
    first, second, third, *_ = await store.events(0, 100)
    await aged(database, second.sequence)
    await pruner.prune_events(30 * DAY_SECONDS, 100)

    with pytest.raises(OutOfRange) as refusal:
        await store.events(first.sequence, 100)
    assert (refusal.value.reason, refusal.value.metadata) == ("EVENTS_PRUNED", {"pruned_through": str(second.sequence)})
    assert (await store.events(second.sequence, 1)) == [third]
    assert (await store.events(0, 1)) == [third]


async def test_an_emptied_outbox_still_tells_who_comes_too_late(
    database: Database, store: Awaited, pruner: Pruner
) -> None:
    await brought(store, State.RUNNING)
    events = await store.events(0, 100)
    await aged(database, events[-1].sequence)
    await pruner.prune_events(30 * DAY_SECONDS, 100)

    assert await row_count(database, outbox_table) == 0
    assert await store.events(events[-1].sequence, 100) == []
    with pytest.raises(OutOfRange):
        await store.events(events[-2].sequence, 100)
