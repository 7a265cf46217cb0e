"""Reads that come at the same time become one call, and no reader is told what was true before it asked."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway.clients.batched_reads import Batcher
from services.chassis import context


class Service:
    """Answers each call when it is told to; a value is its key in capitals, and x has none."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.answers: list[asyncio.Future[None]] = []
        self.deadlines: list[float | None] = []

    async def ask(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(list(keys))
        self.deadlines.append(context.deadline.get())
        self.answers.append(asyncio.get_running_loop().create_future())
        self.begun.put_nowait(None)
        await self.answers[-1]
        return {key: key.upper() for key in keys if key != "x"}

    async def called(self, times: int) -> None:
        while len(self.calls) < times:
            await self.begun.get()

    def answer(self, call: int) -> None:
        self.answers[call].set_result(None)


def reading(coalescer: Batcher[str, str], *keys: str) -> "asyncio.Future[list[str | None]]":
    return asyncio.gather(*map(coalescer.get, keys))


async def test_what_is_asked_for_during_a_call_shares_the_next_one() -> None:
    service = Service()
    coalescer = Batcher(service.ask, size=10, calls=1)
    first = reading(coalescer, "a")
    await service.called(1)
    others = reading(coalescer, "b", "c", "b", "x")
    await asyncio.sleep(0)
    service.answer(0)
    await service.called(2)
    service.answer(1)

    assert await first == ["A"]
    assert await others == ["B", "C", "B", None]
    assert service.calls == [["a"], ["b", "c", "x"]]


async def test_nobody_joins_a_call_that_has_begun() -> None:
    """It may have read before the change that its reader knows of."""
    service = Service()
    coalescer = Batcher(service.ask, size=10, calls=2)
    before = reading(coalescer, "a")
    await service.called(1)
    after = reading(coalescer, "a")
    await service.called(2)
    service.answer(1)

    assert await after == ["A"]
    assert not before.done()
    service.answer(0)
    assert await before == ["A"]


async def test_a_call_carries_so_many_keys_and_so_many_calls_run_at_once() -> None:
    service = Service()
    coalescer = Batcher(service.ask, size=2, calls=2)
    read = reading(coalescer, *"abcdefg")
    await service.called(2)
    await asyncio.sleep(0)

    assert service.calls == [["a"], ["b"]]
    for call in range(5):
        if call < len(service.calls):
            service.answer(call)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert await read == list("ABCDEFG")
    assert [len(keys) for keys in service.calls] == [1, 1, 2, 2, 1]


async def test_a_failure_is_told_to_all_who_shared_the_call_and_the_next_call_goes_on() -> None:
    service = Service()
    coalescer = Batcher(service.ask, size=10, calls=1)
    first = reading(coalescer, "a")
    await service.called(1)
    others = asyncio.gather(*map(coalescer.get, "bc"), return_exceptions=True)
    await asyncio.sleep(0)
    service.answers[0].set_exception(ConnectionError("away"))
    await service.called(2)
    service.answers[1].set_exception(ConnectionError("still away"))
    with pytest.raises(ConnectionError, match="away"):
        await first

    assert [str(failure) for failure in await others] == ["still away"] * 2
    again = reading(coalescer, "b")
    await service.called(3)
    service.answer(2)
    assert await again == ["B"]


async def test_a_reader_that_leaves_takes_nothing_from_the_others() -> None:
    service = Service()
    coalescer = Batcher(service.ask, size=10, calls=1)
    leaving, staying = asyncio.create_task(coalescer.get("a")), asyncio.create_task(coalescer.get("a"))
    await service.called(1)
    third = asyncio.create_task(coalescer.get("b"))
    await asyncio.sleep(0)
    leaving.cancel()
    third.cancel()
    await asyncio.gather(leaving, third, return_exceptions=True)
    service.answer(0)

    await service.called(2)
    service.answer(1)
    assert await staying == "A"


async def test_the_first_reader_does_not_hurry_the_call() -> None:
    service = Service()
    coalescer = Batcher(service.ask, size=10, calls=1)
    context.deadline.set(1.0)
    read = reading(coalescer, "a")
    await service.called(1)
    service.answer(0)

    assert await read == ["A"]
    assert service.deadlines == [None]
