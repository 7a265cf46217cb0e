"""Anybody can call the bare callback path, so what strangers send may wait only in bounded numbers."""

import orjson
import pytest

from services.chassis.errors import ResourceExhausted
from services.generation.core import mailbox
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
