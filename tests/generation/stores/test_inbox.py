"""A callback is kept once and taken by one reader at a time, until it is dealt with, on every engine."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from services.chassis.database import Database, db_now
from services.generation.model import Callback
from services.generation.ports import Inbox
from services.generation.stores import inbox
from services.generation.stores.tables import inbox as table

FIRST = Callback("cb_1", "image-generated", "att_1", "task1", 200)


async def test_a_callback_is_kept_once(inbox_store: Inbox) -> None:
    told = [await inbox_store.add(replace(FIRST, id=f"cb_{number}")) for number in range(3)]

    assert told == [True, False, False]
    assert [callback.id for callback in await inbox_store.take(10)] == ["cb_0"]


async def test_twenty_copies_at_once_are_kept_once(inbox_store: Inbox) -> None:
    told = await asyncio.gather(*(inbox_store.add(replace(FIRST, id=f"cb_{n}")) for n in range(20)))

    assert sum(told) == 1
    assert len(await inbox_store.take(100)) == 1


async def test_another_attempt_task_or_code_is_another_callback(inbox_store: Inbox) -> None:
    others: list[dict[str, Any]] = [{"attempt_id": "att_2"}, {"attempt_id": ""}, {"task_id": "task2"}, {"code": 501}]
    await inbox_store.add(FIRST)

    assert [await inbox_store.add(replace(FIRST, id=f"cb_{n}", **other)) for n, other in enumerate(others, 2)] == [
        True
    ] * 4


async def test_a_taken_callback_is_as_it_came(inbox_store: Inbox) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)

    assert replace(taken, create_ms=0) == replace(FIRST, tries=1)
    assert taken.create_ms


async def test_readers_share_callbacks_without_overlap(inbox_store: Inbox) -> None:
    for number in range(30):
        await inbox_store.add(replace(FIRST, id=f"cb_{number}", task_id=f"task{number}"))

    taken = await asyncio.gather(*(inbox_store.take(3) for _ in range(20)))
    rest = await inbox_store.take(100)

    counts = Counter(callback.id for callbacks in [*taken, rest] for callback in callbacks)
    assert counts == Counter(f"cb_{number}" for number in range(30))


async def test_a_finished_callback_is_never_taken_again(inbox_store: Inbox) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.postpone(taken, 0)
    (again,) = await inbox_store.take(10)
    await inbox_store.finish(again, "done")
    await inbox_store.postpone(again, 0)

    assert (taken.tries, again.tries) == (1, 2)
    assert await inbox_store.take(10) == []
    assert not await inbox_store.add(replace(FIRST, id="cb_again"))


async def test_a_postponed_callback_waits(inbox_store: Inbox) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.postpone(taken, 3600)

    assert await inbox_store.take(10) == []


async def test_a_callback_that_comes_again_while_it_is_looked_at_is_not_closed(inbox_store: Inbox) -> None:
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
    database: Database, inbox_store: Inbox, how: str
) -> None:
    """The generation stopped waiting for the task during the look, which knew nothing of that."""
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    async with database.write() as connection:
        await inbox.remind(connection, "att_1", "task1")
    if how == "closed":
        await inbox_store.finish(taken, "done")
    else:
        await inbox_store.postpone(taken, 3600)

    async with database.read() as connection:
        row = (await connection.execute(select(table.c.verdict, table.c.due_ms - db_now()))).one()
    assert row.verdict == ""
    assert row[1] <= inbox.REPEAT_GAP_MS


async def test_a_reminder_opens_its_own_row_again(database: Database, inbox_store: Inbox) -> None:
    for _ in range(2):
        async with database.write() as connection:
            await inbox.remind(connection, "att_1", "task1")
        (taken,) = await inbox_store.take(10)
        await inbox_store.finish(taken, "failed")

    assert await inbox_store.take(10) == []


@pytest.mark.parametrize(("verdict", "opened"), [("unknown", 1), ("failed", 1), ("done", 0), ("extra", 0)])
async def test_a_repetition_opens_what_was_not_settled(inbox_store: Inbox, verdict: str, opened: int) -> None:
    await inbox_store.add(FIRST)
    (taken,) = await inbox_store.take(10)
    await inbox_store.finish(taken, verdict)

    assert not await inbox_store.add(replace(FIRST, id="cb_again"))
    assert [(callback.id, callback.tries) for callback in await inbox_store.take(10)] == [("cb_1", 1)] * opened


async def test_a_reader_knows_how_old_a_callback_is_by_the_databases_clock(
    database: Database, inbox_store: Inbox
) -> None:
    await inbox_store.add(FIRST)
    async with database.write() as connection:
        await connection.execute(update(table).values(create_ms=table.c.create_ms - 60_000))
    (taken,) = await inbox_store.take(10)

    assert 60 <= taken.age_seconds < 3600
