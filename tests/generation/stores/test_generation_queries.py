"""Generations are found by either id and listed newest first, on every engine."""

from dataclasses import replace

import pytest

from services.chassis.errors import NotFound
from services.generation.model import Generation, State
from services.generation.ports import Page
from tests.generation.builders import brought, ordered
from tests.support.awaited import Awaited


async def test_an_order_is_found_by_its_id(store: Awaited) -> None:
    stored = await ordered(store)

    assert await store.get(stored.id) == stored


@pytest.mark.parametrize("identifier", ["gen_nobody", "' OR '1'='1", "%", ""])
async def test_nothing_is_found_by_a_foreign_id(store: Awaited, identifier: str) -> None:
    await ordered(store)

    with pytest.raises(NotFound) as caught:
        await store.get(identifier)

    assert caught.value.reason == "TASK_NOT_FOUND"


async def everything(store: Awaited, page: Page) -> list[Generation]:
    """All pages."""
    listed: list[Generation] = []
    while found := await store.list(page):
        listed += found
        page = replace(page, after=(found[-1].create_ms, found[-1].id))
    return listed


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_pages_hold_everything_once_newest_first(store: Awaited, size: int) -> None:
    stored = [await ordered(store) for _ in range(7)]

    listed = await everything(store, Page(size))

    assert [row.id for row in listed] == [row.id for row in sorted(stored, key=lambda r: (r.create_ms, r.id))][::-1]


async def test_an_order_that_comes_between_two_pages_disturbs_neither(store: Awaited) -> None:
    before = {(await ordered(store)).id for _ in range(4)}
    first = await store.list(Page(2))
    await ordered(store)
    rest = await everything(store, Page(2, after=(first[-1].create_ms, first[-1].id)))

    assert {row.id for row in [*first, *rest]} == before


async def test_a_list_can_be_of_some_states(store: Awaited) -> None:
    running = await brought(store, State.RUNNING)
    await brought(store, State.EXPIRED)
    unknown = await brought(store, State.UNKNOWN)

    listed = await store.list(Page(10, states=(State.RUNNING, State.UNKNOWN)))

    assert {row.id for row in listed} == {running.id, unknown.id}


async def test_a_list_can_be_of_some_time(store: Awaited) -> None:
    stored = await ordered(store)
    start = stored.create_ms

    assert [len(await store.list(Page(10, start_ms=at))) for at in (start, start + 1)] == [1, 0]
    assert [len(await store.list(Page(10, end_ms=at))) for at in (start, start + 1)] == [0, 1]
