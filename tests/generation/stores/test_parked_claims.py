"""Parked work and parked callbacks are handed to nobody until they are released, on every engine."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from services.chassis.database import Database
from services.chassis.parking import MAX_FAULTS, Parking
from services.generation.model import INBOX, LOOP_OF, Callback, State
from services.generation.ports import GenerationStore, Inbox
from services.generation.stores import inbox
from services.generation.stores.leases import make_parking
from services.generation.stores.tables import inbox as table
from tests.generation.builders import brought

NAMED = Callback("cb_1", "image-generated", "att_1", "task1", 200)
BARE = replace(NAMED, attempt_id="")
NEIGHBOUR = Callback("cb_2", "image-generated", "att_2", "task2", 200)


@pytest.fixture
def parking(database: Database) -> Parking:
    return make_parking(database)


async def stumble() -> None:
    raise RecursionError("1,010 nested objects, and a prompt")


async def succeed() -> None:
    """Do it."""


async def park(parking: Parking, loop: str, work_id: str) -> None:
    """Fail as often as it takes."""
    for _ in range(MAX_FAULTS):
        failed = (await parking.counts(loop, [work_id])).get(work_id, 0)
        await parking.attempt(loop, work_id, stumble, failed=failed)


async def taken(inbox_store: Inbox) -> list[str]:
    return [callback.id for callback in await inbox_store.take(10)]


@pytest.fixture(params=[NAMED, BARE], ids=["token", "bare"])
async def parked(request: pytest.FixtureRequest, inbox_store: Inbox, parking: Parking) -> Callback:
    """A callback at which our code failed too often, due as ever."""
    await inbox_store.add(request.param)
    (callback,) = await inbox_store.take(10)
    await park(parking, INBOX, callback.id)
    await inbox_store.postpone(callback, 0.0, counted=False)
    return callback


async def test_a_parked_callback_is_taken_by_nobody_and_stops_no_neighbour(
    inbox_store: Inbox, parking: Parking, parked: Callback
) -> None:
    await inbox_store.add(NEIGHBOUR)

    assert await taken(inbox_store) == [NEIGHBOUR.id]
    (fault,) = await parking.listed()
    assert (fault.loop, fault.work_id, fault.count) == (INBOX, parked.id, MAX_FAULTS)
    assert "nested objects" not in fault.cause + fault.trace


async def test_a_released_callback_is_taken_again_and_fails_from_the_beginning(
    inbox_store: Inbox, parking: Parking, parked: Callback
) -> None:
    released = [await parking.release(INBOX, parked.id) for _ in range(2)]

    assert released == [True, False]
    assert await parking.counts(INBOX, [parked.id]) == {}
    assert await taken(inbox_store) == [parked.id]


async def test_a_repetition_releases_a_callback_that_names_an_attempt_and_no_other(
    inbox_store: Inbox, parking: Parking, parked: Callback
) -> None:
    """Anybody can repeat a bare one."""
    kept = await inbox_store.add(replace(parked, id="cb_again"))
    still = [fault.work_id for fault in await parking.listed()]

    assert not kept
    assert still == ([] if parked.attempt_id else [parked.id])


@pytest.mark.parametrize("parked", [NAMED], ids=["token"], indirect=True)
async def test_a_reminder_releases_a_parked_callback(
    database: Database, inbox_store: Inbox, parking: Parking, parked: Callback
) -> None:
    async with database.write() as connection:
        await inbox.remind(connection, "att_1", "task1")

    assert await parking.listed() == []
    async with database.write() as connection:
        await connection.execute(update(table).values(due_ms=0))
    assert await taken(inbox_store) == [parked.id]


async def test_faults_of_one_callback_that_are_counted_at_once_are_all_counted(
    inbox_store: Inbox, parking: Parking
) -> None:
    """Two replicas may fail at it in the same moment; the piece is parked once, and no count is lost."""
    await inbox_store.add(NAMED)
    for _ in range(2):
        await asyncio.gather(*(parking.attempt(INBOX, NAMED.id, stumble, failed=n) for n in range(MAX_FAULTS)))

    (fault,) = await parking.listed()
    assert fault.count == 2 * MAX_FAULTS
    assert await taken(inbox_store) == []


async def test_a_try_that_succeeds_forgets_the_faults_before(inbox_store: Inbox, parking: Parking) -> None:
    await inbox_store.add(NAMED)
    await parking.attempt(INBOX, NAMED.id, stumble)
    counted = await parking.counts(INBOX, [NAMED.id, "cb_other"])
    done = await parking.attempt(INBOX, NAMED.id, succeed, failed=1)

    assert counted == {NAMED.id: 1}
    assert done is None
    assert await parking.counts(INBOX, [NAMED.id]) == {}


@pytest.mark.parametrize("state", [State.READY, State.AMBIGUOUS, State.RUNNING, State.STORING])
async def test_a_parked_generation_is_claimed_by_nobody_until_it_is_released(
    store: GenerationStore, parking: Parking, state: State
) -> None:
    held, neighbour = await brought(store, state), await brought(store, state)
    await park(parking, LOOP_OF[state], held.id)
    while_parked = [row.id for row in await store.claim([state], 10, 0.0)]
    await parking.release(LOOP_OF[state], held.id)

    assert while_parked == [neighbour.id]
    assert {row.id for row in await store.claim([state], 10, 0.0)} == {held.id, neighbour.id}


async def test_what_is_parked_in_one_loop_goes_on_in_another(store: GenerationStore, parking: Parking) -> None:
    held = await brought(store, State.STORING)
    await park(parking, LOOP_OF[State.RUNNING], held.id)

    assert [row.id for row in await store.claim([State.STORING], 10, 60)] == [held.id]


async def test_a_new_chain_of_attempts_is_not_held_up_by_what_was_parked(
    store: GenerationStore, parking: Parking
) -> None:
    unknown = await brought(store, State.UNKNOWN)
    await park(parking, LOOP_OF[State.READY], unknown.id)
    await store.restart(unknown)

    assert [row.id for row in await store.claim([State.READY], 10, 60)] == [unknown.id]
