"""A webhook is kept once and taken by one reader at a time, until it is dealt with, on every engine."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from services.generation.model import Callback
from services.generation.ports import Inbox

FIRST = Callback("cb_1", "image-generated", "att_1", "task1", 200)


async def test_a_webhook_is_kept_once(inbox: Inbox) -> None:
    told = [await inbox.keep(replace(FIRST, id=f"cb_{number}")) for number in range(3)]

    assert told == [True, False, False]
    assert [callback.id for callback in await inbox.take(10)] == ["cb_0"]


async def test_twenty_copies_at_once_are_kept_once(inbox: Inbox) -> None:
    told = await asyncio.gather(*(inbox.keep(replace(FIRST, id=f"cb_{n}")) for n in range(20)))

    assert sum(told) == 1
    assert len(await inbox.take(100)) == 1


async def test_another_attempt_task_or_code_is_another_webhook(inbox: Inbox) -> None:
    others: list[dict[str, Any]] = [{"attempt_id": "att_2"}, {"attempt_id": ""}, {"task_id": "task2"}, {"code": 501}]
    await inbox.keep(FIRST)

    assert [await inbox.keep(replace(FIRST, id=f"cb_{n}", **other)) for n, other in enumerate(others, 2)] == [True] * 4


async def test_a_taken_webhook_is_as_it_came(inbox: Inbox) -> None:
    await inbox.keep(FIRST)
    (taken,) = await inbox.take(10)

    assert replace(taken, create_ms=0) == replace(FIRST, tries=1)
    assert taken.create_ms


async def test_readers_share_webhooks_without_overlap(inbox: Inbox) -> None:
    for number in range(30):
        await inbox.keep(replace(FIRST, id=f"cb_{number}", task_id=f"task{number}"))

    taken = await asyncio.gather(*(inbox.take(3) for _ in range(20)))
    rest = await inbox.take(100)

    counts = Counter(callback.id for callbacks in [*taken, rest] for callback in callbacks)
    assert counts == Counter(f"cb_{number}" for number in range(30))


async def test_a_finished_webhook_is_never_taken_again(inbox: Inbox) -> None:
    await inbox.keep(FIRST)
    (taken,) = await inbox.take(10)
    await inbox.postpone(taken, 0)
    (again,) = await inbox.take(10)
    await inbox.finish(again, "done")
    await inbox.postpone(again, 0)

    assert (taken.tries, again.tries) == (1, 2)
    assert await inbox.take(10) == []
    assert not await inbox.keep(replace(FIRST, id="cb_again"))


async def test_a_postponed_webhook_waits(inbox: Inbox) -> None:
    await inbox.keep(FIRST)
    (taken,) = await inbox.take(10)
    await inbox.postpone(taken, 3600)

    assert await inbox.take(10) == []
