"""A ring wakes who listens, is not lost between two waits, and never swallows the signal to stop."""

import asyncio

import pytest

from services.generation.bell import Bell

LONG = 60.0


async def test_a_ring_wakes_who_listens() -> None:
    bell = Bell()
    with bell.listening("a") as ear:
        waiting = asyncio.create_task(ear.wait(LONG))
        await asyncio.sleep(0)
        bell.ring("b", "a")
        await asyncio.wait_for(waiting, 20)


async def test_a_ring_between_two_waits_is_not_lost() -> None:
    bell = Bell()
    with bell.listening("a") as ear:
        bell.ring("a")
        await asyncio.wait_for(ear.wait(LONG), 20)


async def test_silence_ends_a_wait_in_time() -> None:
    with Bell().listening("a") as ear:
        for _ in range(2):
            await asyncio.wait_for(ear.wait(0.01), 20)


async def test_a_later_ring_comes_later() -> None:
    bell = Bell()
    with bell.listening("a") as ear:
        bell.ring_later("a", 0.01)
        waiting = asyncio.create_task(ear.wait(LONG))
        await asyncio.sleep(0)
        at_once = waiting.done()
        await asyncio.wait_for(waiting, 20)

    assert not at_once


@pytest.mark.parametrize("steps", range(6))
async def test_a_loop_that_is_rung_while_it_is_stopped_stops(steps: int) -> None:
    """A service whose loops lose the cancellation would hang at SIGTERM."""
    bell = Bell()

    async def loop() -> None:
        with bell.listening("a") as ear:
            while True:
                await ear.wait(LONG)

    looping = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    bell.ring("a")
    for _ in range(steps):
        await asyncio.sleep(0)
    looping.cancel()
    await asyncio.wait([looping], timeout=5)

    assert looping.cancelled()


async def test_ringing_where_nobody_listens_wakes_nobody_later() -> None:
    bell = Bell()
    bell.ring("a")
    with bell.listening("a") as ear:
        waiting = asyncio.create_task(ear.wait(LONG))
        for _ in range(3):
            await asyncio.sleep(0)
        woken = waiting.done()
        waiting.cancel()

    assert not woken
