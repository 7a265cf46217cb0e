"""Whoever watches sees the present, each change, and the end."""

import asyncio

import pytest

from services.chassis.errors import NotFound
from services.generation.answers import Drawn
from services.generation.model import Event, State
from tests.generation.town import Town

URI = "https://temporary.example/a.png"


async def test_a_watcher_sees_every_face_until_the_end(town: Town) -> None:
    created = await town.order()
    seen: list[State] = []

    async def watch() -> None:
        seen.extend([generation.state async for generation in town.generations.watch(created.id)])

    async with asyncio.timeout(20):
        watching = asyncio.create_task(watch())
        town.provider.records["task1"] = Drawn((URI,))
        async with town.running():
            await watching

    assert seen[-1] is State.SUCCEEDED
    assert len(seen) == len(set(seen))


async def test_a_watcher_of_something_that_ended_sees_it_once(town: Town) -> None:
    created = await town.order()
    canceled = await town.generations.cancel(created.id)

    assert [generation async for generation in town.generations.watch(created.id)] == [canceled]


async def test_a_watcher_of_another_process_sees_changes_too(town: Town) -> None:
    """Nobody rings its bell; it looks for itself."""
    created = await town.order()
    deaf = town.generations
    watching = deaf.watch(created.id)
    first = await anext(watching)
    town.bell.ring = lambda *_topics: None  # type: ignore[method-assign] # another process's bell
    await town.generations.cancel(created.id)
    async with asyncio.timeout(20):
        second = await anext(watching)
    await watching.aclose()  # type: ignore[attr-defined] # a generator in fact

    assert [first.state, second.state] == [State.READY, State.CANCELED]


async def test_nothing_to_watch_is_not_found(town: Town) -> None:
    with pytest.raises(NotFound):
        await anext(town.generations.watch("gen_nobody"))


async def test_events_are_told_as_they_come(town: Town) -> None:
    events: list[Event] = []

    async def consume() -> None:
        async for event in town.generations.events(0):
            events.append(event)
            if event.generation.state is State.CANCELED:
                return

    async with asyncio.timeout(20):
        consuming = asyncio.create_task(consume())
        created = await town.order()
        await town.generations.cancel(created.id)
        await consuming

    assert [event.generation.state for event in events] == [State.READY, State.CANCELED]
