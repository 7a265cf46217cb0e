"""Anybody can call the bare callback path, so what strangers send may wait only in bounded numbers."""

import orjson
import pytest

from services.chassis.errors import ResourceExhausted
from services.generation.core import mailbox
from services.generation.core.mailbox import MAX_TASKS
from tests.generation.town import KIND, Town


def webhook(number: int) -> bytes:
    return orjson.dumps({"code": 200, "data": {"taskId": f"stranger{number}"}})


async def test_only_so_many_webhooks_without_a_token_may_wait(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAX_STRANGERS", 3)
    for number in range(3):
        await town.mailbox.receive(KIND, "", webhook(number), {})

    with pytest.raises(ResourceExhausted) as refused:
        await town.mailbox.receive(KIND, "", webhook(3), {})
    assert refused.value.retry_after
    assert await town.inbox.strangers() == 3


async def test_codes_that_kie_does_not_know_make_one_row(town: Town) -> None:
    """Each code of a task is a row, and anybody may send one."""
    told = [await town.callback("task1", code=code) for code in (777, 888, 999, 200)]

    assert told == [True, False, False, True]


async def test_only_so_many_tasks_may_be_named_for_one_attempt(town: Town) -> None:
    await town.order()
    await town.submit()
    token = town.provider.submits[-1].token
    for number in range(MAX_TASKS):
        await town.callback(f"task-{number}", token)

    with pytest.raises(ResourceExhausted):
        await town.callback("one-more", token)
    assert await town.callback("one-more")
