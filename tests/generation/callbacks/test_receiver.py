"""Anybody can call the callback path without a token, so only a bounded number of such callbacks may be open."""

import orjson
import pytest

from services.chassis.errors import ResourceExhausted
from services.generation.callbacks import receiver
from services.generation.callbacks.receiver import MAX_TASKS
from tests.generation.harness import KIND, Harness


def webhook(number: int) -> bytes:
    return orjson.dumps({"code": 200, "data": {"taskId": f"unknown{number}"}})


async def test_only_so_many_callbacks_without_a_token_may_wait(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "MAX_WITHOUT_TOKEN", 3)
    for number in range(3):
        await harness.receiver.receive(KIND, "", webhook(number), {})

    with pytest.raises(ResourceExhausted) as refused:
        await harness.receiver.receive(KIND, "", webhook(3), {})
    assert refused.value.retry_after
    assert await harness.inbox.open_without_token() == 3


async def test_codes_that_kie_does_not_know_make_one_row(harness: Harness) -> None:
    """Each code of a task is a row, and anybody may send one."""
    accepted = [await harness.callback("task1", code=code) for code in (777, 888, 999, 200)]

    assert accepted == [True, False, False, True]


async def test_only_so_many_tasks_may_be_named_for_one_attempt(harness: Harness) -> None:
    await harness.order()
    await harness.submit()
    token = harness.provider.submits[-1].token
    for number in range(MAX_TASKS):
        await harness.callback(f"task-{number}", token)

    with pytest.raises(ResourceExhausted):
        await harness.callback("one-more", token)
    assert await harness.callback("one-more")
