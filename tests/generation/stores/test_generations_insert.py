"""Orders are stored once each, found again, and listed newest first, on every engine."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, NotFound
from services.generation.model import Draft, Generation, State
from services.generation.ports import GenerationStore, Page
from services.generation.stores.tables import generation as table
from tests.generation.builders import DRAFT, brought, new, ordered


async def rows(database: Database) -> int:
    async with database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def test_an_order_is_ready_and_due_at_once(store: GenerationStore) -> None:
    stored = await store.insert(new(), "", "hash")
    (claimed,) = await store.claim([State.READY], 10, 60)

    assert (stored.state, stored.draft, stored.fence, stored.outputs) == (State.READY, DRAFT, 0, ())
    assert stored.create_ms == stored.update_ms > 1_600_000_000_000
    assert claimed.id == stored.id


async def test_an_order_is_found_by_its_id(store: GenerationStore) -> None:
    stored = await ordered(store)

    assert await store.get(stored.id) == stored


@pytest.mark.parametrize(
    "draft",
    [
        Draft("m", "'; DROP TABLE generation; --"),
        Draft("m", 'quotes " \\ and\nlines\u2028'),
        Draft(
            "m",
            "👩‍👩‍👧 \u202ertl é ﷽",
            ("https://example.org/?a=b&c=%20",),
            "16:9",
            "png",
            {"a": [1, {"b": None}], "c": 1.5},
        ),
    ],
)
async def test_a_draft_is_kept_exactly(store: GenerationStore, draft: Draft) -> None:
    stored = await store.insert(new(draft), "", "hash")

    assert (await store.get(stored.id)).draft == draft


@pytest.mark.parametrize("identifier", ["gen_nobody", "' OR '1'='1", "%", ""])
async def test_nothing_is_found_by_a_foreign_id(store: GenerationStore, identifier: str) -> None:
    await ordered(store)

    with pytest.raises(NotFound) as caught:
        await store.get(identifier)

    assert caught.value.reason == "TASK_NOT_FOUND"


async def test_a_repeated_request_joins_the_first(store: GenerationStore, database: Database) -> None:
    first = await store.insert(new(), "key", "hash")
    again = await store.insert(new(), "key", "hash")

    assert again == replace(first, joined=True)
    assert await rows(database) == 1
    assert len(await store.events(0, 10)) == 1


async def test_a_request_key_belongs_to_its_request(store: GenerationStore, database: Database) -> None:
    await store.insert(new(), "key", "hash")

    with pytest.raises(AlreadyExists) as caught:
        await store.insert(new(), "key", "another hash")

    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert await rows(database) == 1


async def test_orders_without_a_key_are_all_new(store: GenerationStore, database: Database) -> None:
    await store.insert(new(), "", "hash")
    await store.insert(new(), "", "hash")

    assert await rows(database) == 2


async def test_twenty_requests_at_once_make_one_order(store: GenerationStore, database: Database) -> None:
    stored = await asyncio.gather(*(store.insert(new(), "key", "hash") for _ in range(20)))

    assert len({generation.id for generation in stored}) == 1
    assert await rows(database) == 1
    assert len(await store.events(0, 100)) == 1


async def test_twenty_orders_at_once_are_all_stored(store: GenerationStore, database: Database) -> None:
    await asyncio.gather(*(store.insert(new(), f"key {number}", "hash") for number in range(20)))

    assert await rows(database) == 20


async def everything(store: GenerationStore, page: Page) -> list[Generation]:
    """All pages."""
    listed: list[Generation] = []
    while found := await store.list(page):
        listed += found
        page = replace(page, after=(found[-1].create_ms, found[-1].id))
    return listed


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_pages_hold_everything_once_newest_first(store: GenerationStore, size: int) -> None:
    stored = [await ordered(store) for _ in range(7)]

    listed = await everything(store, Page(size))

    assert [row.id for row in listed] == [row.id for row in sorted(stored, key=lambda r: (r.create_ms, r.id))][::-1]


async def test_an_order_that_comes_between_two_pages_disturbs_neither(store: GenerationStore) -> None:
    before = {(await ordered(store)).id for _ in range(4)}
    first = await store.list(Page(2))
    await ordered(store)
    rest = await everything(store, Page(2, after=(first[-1].create_ms, first[-1].id)))

    assert {row.id for row in [*first, *rest]} == before


async def test_a_list_can_be_of_some_states(store: GenerationStore) -> None:
    running = await brought(store, State.RUNNING)
    await brought(store, State.EXPIRED)
    unknown = await brought(store, State.UNKNOWN)

    listed = await store.list(Page(10, states=(State.RUNNING, State.UNKNOWN)))

    assert {row.id for row in listed} == {running.id, unknown.id}


async def test_a_list_can_be_of_some_time(store: GenerationStore) -> None:
    stored = await ordered(store)
    start = stored.create_ms

    assert [len(await store.list(Page(10, start_ms=at))) for at in (start, start + 1)] == [1, 0]
    assert [len(await store.list(Page(10, end_ms=at))) for at in (start, start + 1)] == [0, 1]
