"""Concurrent callers with the same key share one run."""

import asyncio
import gc
from contextlib import suppress

import pytest

from services.chassis.errors import ResourceExhausted
from services.chassis.single_flight import MAX_RUNNING, SingleFlight


async def test_joiners_share_one_run_and_its_result_and_a_later_caller_starts_anew() -> None:
    single_flight, runs, land = SingleFlight[int](), list[int](), asyncio.Event()

    async def work() -> int:
        runs.append(1)
        await land.wait()
        return 7

    callers = [asyncio.create_task(single_flight.join("a", work)) for _ in range(5)]
    other = asyncio.create_task(single_flight.join("b", work))
    await asyncio.sleep(0)
    land.set()

    assert await asyncio.gather(*callers, other) == [7] * 6
    assert len(runs) == 2
    await single_flight.join("a", work)
    assert len(runs) == 3


async def test_an_error_is_everyone_s_and_is_not_remembered() -> None:
    single_flight = SingleFlight[int]()

    async def fail() -> int:
        raise LookupError

    results = await asyncio.gather(*(single_flight.join("a", fail) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, LookupError) for result in results)
    with pytest.raises(LookupError):
        await single_flight.join("a", fail)


async def test_a_caller_who_leaves_does_not_stop_the_others() -> None:
    single_flight, land = SingleFlight[int](), asyncio.Event()

    async def work() -> int:
        await land.wait()
        return 7

    leaving, staying = (asyncio.create_task(single_flight.join("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    land.set()

    assert await staying == 7
    assert leaving.cancelled()


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_a_flight_that_everybody_has_left_is_no_news_to_anybody(end: str) -> None:
    """Neither an error that nobody fetched nor one of ours: each would be a line in the log at every such import."""
    single_flight, land, landed, news = SingleFlight[int](), asyncio.Event(), asyncio.Event(), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: news.append(str(context["message"])))

    async def work() -> int:
        await land.wait()
        landed.set()
        raise LookupError if end == "fails" else asyncio.CancelledError

    leaving = asyncio.create_task(single_flight.join("a", work))
    await asyncio.sleep(0)
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    land.set()
    await landed.wait()
    await asyncio.sleep(0)  # the flight ends
    await asyncio.sleep(0)  # and is seen
    gc.collect()

    assert news == []


async def test_the_number_of_running_calls_is_bounded_and_joining_one_stays_possible() -> None:
    single_flight, land = SingleFlight[int](), asyncio.Event()

    async def work() -> int:
        await land.wait()
        return 7

    flying = [asyncio.create_task(single_flight.join(number, work)) for number in range(MAX_RUNNING)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):
        await single_flight.join("one more", work)
    flying.append(asyncio.create_task(single_flight.join(0, work)))
    land.set()

    assert set(await asyncio.gather(*flying)) == {7}
    assert await single_flight.join("one more", work) == 7


async def test_waiters_get_what_a_leading_caller_brings_before_its_block_ends() -> None:
    single_flight = SingleFlight[int]()
    with single_flight.leading("a", 0) as land:
        waiting = [single_flight.running("a") for _ in range(2)]
        land(7)
        land(8)
        later = single_flight.running("a")

        assert [await each for each in waiting if each] == [7, 7]
        assert later is None


async def test_waiters_do_not_wait_for_a_leading_caller_who_left() -> None:
    single_flight = SingleFlight[int]()
    found = []
    for end in (asyncio.CancelledError, LookupError):
        with suppress(end), single_flight.leading("a", 0):
            waiting = single_flight.running("a")
            raise end
        assert waiting
        found.append(await waiting)

    assert found == [0, 0]
    assert single_flight.running("a") is None


async def test_a_waiter_who_leaves_takes_nothing_from_the_others() -> None:
    single_flight = SingleFlight[int]()

    async def wait() -> int:
        running = single_flight.running("a")
        assert running
        return await running

    with single_flight.leading("a", 0) as land:
        leaving, staying = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        land(7)

        assert await staying == 7
