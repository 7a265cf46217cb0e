"""A notification wakes its subscribers, is not lost between two waits, and never loses a cancellation."""

import asyncio

import pytest

from services.chassis.notifier import Notifier

LONG = 60.0


async def test_a_notification_wakes_its_subscribers() -> None:
    notifier = Notifier()
    with notifier.subscribed("a") as subscription:
        waiting = asyncio.create_task(subscription.wait(LONG))
        await asyncio.sleep(0)
        notifier.notify("b", "a")
        await asyncio.wait_for(waiting, 20)


async def test_a_notification_between_two_waits_is_not_lost() -> None:
    notifier = Notifier()
    with notifier.subscribed("a") as subscription:
        notifier.notify("a")
        await asyncio.wait_for(subscription.wait(LONG), 20)


async def test_silence_ends_a_wait_in_time() -> None:
    with Notifier().subscribed("a") as subscription:
        for _ in range(2):
            await asyncio.wait_for(subscription.wait(0.01), 20)


async def test_a_later_ring_comes_later() -> None:
    notifier = Notifier()
    with notifier.subscribed("a") as subscription:
        notifier.notify_later("a", 0.01)
        waiting = asyncio.create_task(subscription.wait(LONG))
        await asyncio.sleep(0)
        at_once = waiting.done()
        await asyncio.wait_for(waiting, 20)

    assert not at_once


@pytest.mark.parametrize("steps", range(6))
async def test_a_loop_that_is_rung_while_it_is_stopped_stops(steps: int) -> None:
    """A service whose loops lose the cancellation would hang at SIGTERM."""
    notifier = Notifier()

    async def loop() -> None:
        with notifier.subscribed("a") as subscription:
            while True:
                await subscription.wait(LONG)

    looping = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    notifier.notify("a")
    for _ in range(steps):
        await asyncio.sleep(0)
    looping.cancel()
    await asyncio.wait([looping], timeout=5)

    assert looping.cancelled()


async def test_ringing_where_nobody_listens_wakes_nobody_later() -> None:
    notifier = Notifier()
    notifier.notify("a")
    with notifier.subscribed("a") as subscription:
        waiting = asyncio.create_task(subscription.wait(LONG))
        for _ in range(3):
            await asyncio.sleep(0)
        woken = waiting.done()
        waiting.cancel()

    assert not woken
