"""The event consumer reads each event at least once and applies it once, wherever it stopped."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.supervisor import supervised
from services.community.composition import CommunityService
from services.community.model import Balance, OrderState, State
from services.community.stores import Stores
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, ordered
from tests.support.awaited import awaited
from tests.support.polling import eventually


async def state_of(community: CommunityService, artwork_id: str) -> State:
    return (await community.artworks.get(ANN, artwork_id)).artwork.state


async def test_events_of_an_outage_are_consumed_after_it(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    first, second = await ordered(community), await ordered(community)
    fake_generations.end("gen_1")
    fake_generations.end("gen_2", OrderState.FAILED, "NO")

    async with supervised([community.event_consumer.run]):
        await eventually(lambda: finished(community, first.artwork.id, second.artwork.id))

    assert await state_of(community, first.artwork.id) is State.DRAFT
    assert await state_of(community, second.artwork.id) is State.FAILED
    assert await community.credits.balance(ANN) == Balance(4, 0)


async def finished(community: CommunityService, *artwork_ids: str) -> bool:
    return State.GENERATING not in [await state_of(community, each) for each in artwork_ids]


async def test_an_event_that_comes_again_has_no_effect(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    event = fake_generations.end("gen_1")

    orders = awaited(stores.database, stores.orders)
    assert await orders.apply(event)
    assert await orders.apply(event) is None

    assert (await orders.cursor(), await community.credits.balance(ANN)) == (1, Balance(4, 0))
    assert len(await stores.database.read(stores.users.entries, ANN)) == 3  # GRANT, HOLD, CAPTURE
    assert await state_of(community, card.artwork.id) is State.DRAFT


async def test_events_of_unknown_generations_cost_a_write_only_now_and_then(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    cursors = set()
    for number in range(201):
        await community.event_consumer.consume(fake_generations.end(f"gen_{number}"))
        cursors.add(await stores.database.read(stores.orders.cursor))

    assert cursors == {0, 100, 200}


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_stop_at_any_event_loses_none_and_repeats_no_effect(
    community: CommunityService, fake_generations: FakeGenerations, at: int
) -> None:
    """It is stopped after reading so many events, and begins again from the cursor."""
    cards = [await ordered(community), await ordered(community)]
    for generation in ("gen_1", "gen_other", "gen_2"):
        fake_generations.tell(fake_generations.generations.get(generation) or fake_generations.end(generation))
        fake_generations.end(generation)
    events = community.event_consumer._generations.events(0)

    for _ in range(at):
        await community.event_consumer.consume(await anext(events))
    async with supervised([community.event_consumer.run]):
        await eventually(lambda: finished(community, *(card.artwork.id for card in cards)))

    assert await community.credits.balance(ANN) == Balance(1, 0)
    assert [await state_of(community, card.artwork.id) for card in cards] == [State.DRAFT] * 2


async def test_two_event_consumers_of_one_database_apply_each_event_once(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    event = fake_generations.end("gen_1")

    await asyncio.gather(*(community.event_consumer.consume(event) for _ in range(8)))

    assert await community.credits.balance(ANN) == Balance(4, 0)
    assert await state_of(community, card.artwork.id) is State.DRAFT


async def test_a_generation_that_is_away_is_asked_again(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await ordered(community)
    fake_generations.away = True

    async with supervised([community.event_consumer.run]):
        fake_generations.away = False
        fake_generations.end("gen_1")
        await eventually(lambda: finished(community, card.artwork.id))

    assert await state_of(community, card.artwork.id) is State.DRAFT


async def test_the_loops_finish_what_a_lost_answer_began(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    """Nothing is called by hand: the orders' loop takes it up when its lease has run out."""
    card = await ordered(community)
    fake_generations.end("gen_1")

    async with supervised(community.loops()):
        await eventually(lambda: finished(community, card.artwork.id))

    assert await state_of(community, card.artwork.id) is State.DRAFT


async def test_the_cursor_never_goes_back_and_an_older_event_has_no_effect(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    """A replica that was slow tells an event behind the cursor, of an order whose end it would change."""
    card = await ordered(community)
    older, newer = fake_generations.end("gen_1", OrderState.FAILED, "NO"), fake_generations.end("gen_other")

    orders = awaited(stores.database, stores.orders)
    await orders.apply(replace(newer, event_sequence=200))
    assert await orders.apply(replace(older, event_sequence=100)) is None

    assert await orders.cursor() == 200
    assert await state_of(community, card.artwork.id) is State.GENERATING
    assert await community.credits.balance(ANN) == Balance(4, 3)


async def test_an_order_is_looked_at_again_when_it_was_postponed_to(
    community: CommunityService, stores: Stores
) -> None:
    """Neither at once, nor only when the lease of who looked last has ended."""
    card = await ordered(community)
    assert card.order
    orders = awaited(stores.database, stores.orders)
    await orders.postpone(card.order.id, 0)
    (taken,) = await orders.claim(10, 3600)
    await orders.postpone(taken.id, 0)
    (again,) = await orders.claim(10, 0)
    await orders.postpone(again.id, 3600)

    assert [taken.id, again.id] == [card.order.id] * 2
    assert await orders.claim(10, 0) == []
