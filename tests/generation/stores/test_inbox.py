"""A callback is stored once and taken by one reader at a time until it is closed, on every engine.

Parked callbacks are taken by nobody until they are released; closed ones are pruned by age.
"""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select, update

from services.chassis.database import Database, db_now
from services.chassis.parking import MAX_FAULTS, Parking
from services.generation.model import INBOX, Callback
from services.generation.stores import inbox
from services.generation.stores.inbox import MAX_BARE
from services.generation.stores.tables import inbox as table
from services.generation.timing import DAY_SECONDS
from services.generation.workers.prune import Pruner
from tests.generation.builders import aged, park, stumble
from tests.support.awaited import Awaited
from tests.support.sql import execute, fetch_one, fetch_values

FIRST = Callback("cb_1", "image-generated", "att_1", "task1", 200)


def duplicates() -> float:
    return REGISTRY.get_sample_value("kawaii_callbacks_total", {"verdict": "duplicate"}) or 0.0


async def test_a_callback_is_kept_once(inbox_store: Awaited) -> None:
    before = duplicates()
    added = [await inbox_store.add(replace(FIRST, id=f"cb_{number}")) for number in range(3)]

    assert added == [True, False, False]
    assert duplicates() == before + 2
    assert [callback.id for callback in await inbox_store.take(10)] == ["cb_0"]


async def test_twenty_copies_at_once_are_kept_once(inbox_store: Awaited) -> None:
    added = await asyncio.gather(*(inbox_store.add(replace(FIRST, id=f"cb_{n}")) for n in range(20)))

    assert sum(added) == 1
    assert len(await inbox_store.take(100)) == 1


async def test_another_attempt_task_or_code_is_another_callback(inbox_store: Awaited) -> None:
    others: list[dict[str, Any]] = [{"attempt_id": "att_2"}, {"attempt_id": ""}, {"task_id": "task2"}, {"code": 501}]
    await inbox_store.add(FIRST)

    assert [await inbox_store.add(replace(FIRST, id=f"cb_{n}", **other)) for n, other in enumerate(others, 2)] == [
        True
    ] * 4


async def test_a_taken_callback_is_as_it_came(inbox_store: Awaited) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)

    assert replace(taken, create_ms=0) == replace(FIRST, tries=1)
    assert taken.create_ms


async def test_readers_share_callbacks_without_overlap(inbox_store: Awaited) -> None:
    for number in range(30):
        await inbox_store.add(replace(FIRST, id=f"cb_{number}", task_id=f"task{number}"))

    taken = await asyncio.gather(*(inbox_store.take(3) for _ in range(20)))
    rest = await inbox_store.take(100)

    counts = Counter(callback.id for callbacks in [*taken, rest] for callback in callbacks)
    assert counts == Counter(f"cb_{number}" for number in range(30))


async def test_a_finished_callback_is_never_taken_again(inbox_store: Awaited) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.postpone(taken, 0)
    (again,) = await inbox_store.take(10)
    await inbox_store.finish(again, "done")
    await inbox_store.postpone(again, 0)

    assert (taken.tries, again.tries) == (1, 2)
    assert await inbox_store.take(10) == []
    assert not await inbox_store.add(replace(FIRST, id="cb_again"))


async def test_a_postponed_callback_waits(inbox_store: Awaited) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.postpone(taken, 3600)

    assert await inbox_store.take(10) == []


async def test_a_callback_that_comes_again_while_it_is_looked_at_is_not_closed(inbox_store: Awaited) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    again = await inbox_store.add(replace(FIRST, id="cb_again"))
    await inbox_store.finish(taken, "failed")
    (second,) = await inbox_store.take(10)
    await inbox_store.finish(second, "failed")

    assert (again, taken.id, second.id, second.tries) == (False, "cb_1", "cb_1", 2)
    assert await inbox_store.take(10) == []


@pytest.mark.parametrize("how", ["closed", "postponed"])
async def test_a_reminder_is_not_lost_on_a_callback_that_is_looked_at(
    database: Database, inbox_store: Awaited, how: str
) -> None:
    """The generation stopped waiting for the task during the look, which knew nothing of that."""
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await database.write(inbox.remind, "att_1", "task1")
    if how == "closed":
        await inbox_store.finish(taken, "done")
    else:
        await inbox_store.postpone(taken, 3600)

    row = await fetch_one(database, select(table.c.verdict, table.c.due_ms - db_now()))
    assert row.verdict == ""
    assert row[1] <= inbox.REPEAT_GAP_MS


async def test_a_reminder_opens_its_own_row_again(database: Database, inbox_store: Awaited) -> None:
    for _ in range(2):
        await database.write(inbox.remind, "att_1", "task1")
        (taken,) = await inbox_store.take(10)
        await inbox_store.finish(taken, "failed")

    assert await inbox_store.take(10) == []


@pytest.mark.parametrize("attempt_id", ["att_1", ""])
async def test_a_failure_opens_the_callback_again_that_announced_a_success_and_was_believed(
    database: Database, inbox_store: Awaited, attempt_id: str
) -> None:
    trusted = replace(FIRST, id="cb_1", attempt_id=attempt_id)
    others = [
        replace(trusted, id="cb_2", task_id="task2"),
        replace(trusted, id="cb_3", code=501),
        replace(trusted, id="cb_4", attempt_id="att_2"),
    ]
    for callback in (trusted, *others):
        await inbox_store.add(callback)
        await inbox_store.finish(callback, "done")
    await database.write(inbox.contradict, "att_1", "task1")

    assert await fetch_values(database, select(table.c.id).where(table.c.verdict == "")) == ["cb_1"]


@pytest.mark.parametrize(("verdict", "opened"), [("unknown", 1), ("failed", 1), ("done", 0), ("extra", 0)])
async def test_a_repetition_opens_what_was_not_settled(inbox_store: Awaited, verdict: str, opened: int) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.finish(taken, verdict)

    assert not await inbox_store.add(replace(FIRST, id="cb_again"))
    assert [(callback.id, callback.tries) for callback in await inbox_store.take(10)] == [("cb_1", 1)] * opened


async def test_a_reader_knows_how_old_a_callback_is_by_the_databases_clock(
    database: Database, inbox_store: Awaited
) -> None:
    await inbox_store.add(FIRST)
    await execute(database, update(table).values(create_ms=table.c.create_ms - 60_000))
    (taken,) = await inbox_store.take(10)

    assert 60 <= taken.age_seconds < 3600


NAMED = Callback("cb_1", "image-generated", "att_1", "task1", 200)

BARE = replace(NAMED, attempt_id="")

NEIGHBOUR = Callback("cb_2", "image-generated", "att_2", "task2", 200)


async def succeed() -> None:
    """Do it."""


async def taken(inbox_store: Awaited) -> list[str]:
    return [callback.id for callback in await inbox_store.take(10)]


@pytest.fixture(params=[NAMED, BARE], ids=["token", "bare"])
async def parked(request: pytest.FixtureRequest, inbox_store: Awaited, parking: Parking) -> Callback:
    """A callback at which our code failed too often, due as ever."""
    await inbox_store.add(request.param)
    (callback,) = await inbox_store.take(10)
    await park(parking, INBOX, callback.id)
    await inbox_store.postpone(callback, 0.0, counted=False)
    return callback


async def test_a_parked_callback_is_taken_by_nobody_and_stops_no_neighbour(
    inbox_store: Awaited, parking: Parking, parked: Callback
) -> None:
    await inbox_store.add(NEIGHBOUR)

    assert await taken(inbox_store) == [NEIGHBOUR.id]
    (fault,) = await parking.listed()
    assert (fault.loop, fault.work_id, fault.count) == (INBOX, parked.id, MAX_FAULTS)
    assert "nested objects" not in fault.cause + fault.trace


async def test_a_released_callback_is_taken_again_and_fails_from_the_beginning(
    inbox_store: Awaited, parking: Parking, parked: Callback
) -> None:
    released = [await parking.release(INBOX, parked.id) for _ in range(2)]

    assert released == [True, False]
    (callback,) = await inbox_store.take(10)
    assert (callback.id, callback.faults) == (parked.id, 0)


async def test_a_repetition_releases_a_callback_that_names_an_attempt_and_no_other(
    inbox_store: Awaited, parking: Parking, parked: Callback
) -> None:
    """Anybody can repeat a bare one."""
    kept = await inbox_store.add(replace(parked, id="cb_again"))
    still = [fault.work_id for fault in await parking.listed()]

    assert not kept
    assert still == ([] if parked.attempt_id else [parked.id])


@pytest.mark.parametrize("parked", [NAMED], ids=["token"], indirect=True)
async def test_a_reminder_releases_a_parked_callback(
    database: Database, inbox_store: Awaited, parking: Parking, parked: Callback
) -> None:
    await database.write(inbox.remind, "att_1", "task1")

    assert await parking.listed() == []
    await execute(database, update(table).values(due_ms=0))
    assert await taken(inbox_store) == [parked.id]


async def test_faults_of_one_callback_that_are_counted_at_once_are_all_counted(
    inbox_store: Awaited, parking: Parking
) -> None:
    """Two replicas may fail at it in the same moment; the piece is parked once, and no count is lost."""
    await inbox_store.add(NAMED)
    for _ in range(2):
        await asyncio.gather(*(parking.attempt(INBOX, NAMED.id, stumble, failed=n) for n in range(MAX_FAULTS)))

    (fault,) = await parking.listed()
    assert fault.count == 2 * MAX_FAULTS
    assert await taken(inbox_store) == []


async def test_a_try_that_succeeds_forgets_the_faults_before(inbox_store: Awaited, parking: Parking) -> None:
    await inbox_store.add(NAMED)
    await parking.attempt(INBOX, NAMED.id, stumble)
    (callback,) = await inbox_store.take(10)
    done = await parking.attempt(INBOX, NAMED.id, succeed, failed=callback.faults)

    assert callback.faults == 1
    assert done is None
    assert await parking.of([NAMED.id]) == []


async def test_old_callbacks_go_once_they_are_closed(database: Database, inbox_store: Awaited, pruner: Pruner) -> None:
    first = Callback("cb_1", "image-generated", "att_1", "task1", 200)
    open_, young = replace(first, id="cb_2", task_id="task2"), replace(first, id="cb_3", task_id="task3")
    for callback in (first, open_):
        await inbox_store.add(callback)
    await inbox_store.finish(first, "done")
    await aged(database, 0, 2 * DAY_SECONDS)
    await inbox_store.add(young)
    await inbox_store.finish(young, "done")
    await aged(database, 0, 29 * DAY_SECONDS)

    assert await pruner.prune_callbacks(30 * DAY_SECONDS, 100) == 1
    assert set(await fetch_values(database, select(table.c.id))) == {"cb_2", "cb_3"}


async def test_of_closed_callbacks_without_a_token_only_the_newest_are_kept(database: Database, pruner: Pruner) -> None:
    """Anybody can send them; those with a token are the provider's, and stay their time."""
    common = {"kind": "image-generated", "code": 200, "due_ms": 0, "verdict": "unknown"}
    tokened = {"id": "cb_tokened", "attempt_id": "att_1", "task_id": "task1", "create_ms": 10**15, **common}
    rows = [
        {"id": f"cb_{n}", "attempt_id": "", "task_id": f"task{n}", "create_ms": 2 * 10**15 + n, **common}
        for n in range(MAX_BARE + 3)
    ]
    await execute(database, table.insert(), [tokened, *rows])
    removed = [await pruner.prune_callbacks(30 * DAY_SECONDS, 500) for _ in range(2)]

    assert removed == [3, 0]
    oldest = list(await fetch_values(database, select(table.c.id).order_by(table.c.create_ms).limit(2)))
    assert oldest == ["cb_tokened", "cb_3"]
