"""Whoever watches sees the present, each change, and the end."""

import asyncio

import pytest

from services.chassis.errors import NotFound
from services.generation.model import Event, State
from services.generation.outcomes import Completed
from tests.generation.harness import Harness

URI = "https://temporary.example/a.png"


async def test_a_watcher_sees_every_change_until_the_end(harness: Harness) -> None:
    created = await harness.order()
    seen: list[State] = []

    async def watch() -> None:
        seen.extend([generation.state async for generation in harness.generations.watch(created.id)])

    async with asyncio.timeout(20):
        watching = asyncio.create_task(watch())
        harness.provider.records["task1"] = Completed((URI,))
        async with harness.running():
            await watching

    assert seen[-1] is State.SUCCEEDED
    assert len(seen) == len(set(seen))


async def test_a_watcher_of_something_that_ended_sees_it_once(harness: Harness) -> None:
    created = await harness.order()
    canceled = await harness.generations.cancel(created.id)

    assert [generation async for generation in harness.generations.watch(created.id)] == [canceled]


async def test_a_watcher_of_another_process_sees_changes_too(harness: Harness) -> None:
    """Its notifier is never notified; it polls."""
    created = await harness.order()
    other_process = harness.generations
    watching = other_process.watch(created.id)
    first = await anext(watching)
    harness.notifier.notify = lambda *_topics: None  # type: ignore[method-assign] # another process's notifier
    await harness.generations.cancel(created.id)
    async with asyncio.timeout(20):
        second = await anext(watching)
    await watching.aclose()  # type: ignore[attr-defined] # a generator in fact

    assert [first.state, second.state] == [State.READY, State.CANCELED]


async def test_nothing_to_watch_is_not_found(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await anext(harness.generations.watch("gen_nobody"))


async def test_events_are_told_as_they_come(harness: Harness) -> None:
    events: list[Event] = []

    async def consume() -> None:
        async for event in harness.generations.events(0):
            events.append(event)
            if event.generation.state is State.CANCELED:
                return

    async with asyncio.timeout(20):
        consuming = asyncio.create_task(consume())
        created = await harness.order()
        await harness.generations.cancel(created.id)
        await consuming

    assert [event.generation.state for event in events] == [State.READY, State.CANCELED]
