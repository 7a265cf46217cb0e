"""The follower hears each event at least once and lets it have its effect once, wherever it stopped."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.supervisor import supervised
from services.community.house import House
from services.community.model import Balance, OrderState, State
from services.community.stores import Stores
from tests.community.neighbours import Studio
from tests.community.people import ANN, ordered
from tests.community.waiting import eventually


async def state_of(house: House, artwork_id: str) -> State:
    return (await house.artworks.get(ANN, artwork_id)).artwork.state


async def test_what_happened_while_it_was_away_is_heard_when_it_is_back(house: House, studio: Studio) -> None:
    first, second = await ordered(house), await ordered(house)
    studio.end("gen_1")
    studio.end("gen_2", OrderState.FAILED, "NO")

    async with supervised([house.follower.run]):
        await eventually(lambda: finished(house, first.artwork.id, second.artwork.id))

    assert await state_of(house, first.artwork.id) is State.DRAFT
    assert await state_of(house, second.artwork.id) is State.FAILED
    assert await house.credits.balance(ANN) == Balance(4, 0)


async def finished(house: House, *artwork_ids: str) -> bool:
    return State.GENERATING not in [await state_of(house, each) for each in artwork_ids]


async def test_an_event_that_comes_again_has_no_effect(house: House, stores: Stores, studio: Studio) -> None:
    card = await ordered(house)
    event = studio.end("gen_1")

    assert await stores.orders.hear(event)
    assert await stores.orders.hear(event) is None

    assert (await stores.orders.cursor(), await house.credits.balance(ANN)) == (1, Balance(4, 0))
    assert len(await stores.people.entries(ANN)) == 3  # GRANT, HOLD, CAPTURE
    assert await state_of(house, card.artwork.id) is State.DRAFT


async def test_events_of_strangers_cost_a_write_only_now_and_then(stores: Stores, studio: Studio) -> None:
    cursors = set()
    for number in range(201):
        assert await stores.orders.hear(studio.end(f"gen_{number}")) is None
        cursors.add(await stores.orders.cursor())

    assert cursors == {0, 100, 200}


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_stop_at_any_event_loses_none_and_repeats_no_effect(house: House, studio: Studio, at: int) -> None:
    """It is stopped after reading so many events, and begins again from the cursor."""
    cards = [await ordered(house), await ordered(house)]
    for generation in ("gen_1", "gen_other", "gen_2"):
        studio.tell(studio.generations.get(generation) or studio.end(generation))
        studio.end(generation)
    events = house.follower._generations.events(0)

    for _ in range(at):
        await house.follower.hear(await anext(events))
    async with supervised([house.follower.run]):
        await eventually(lambda: finished(house, *(card.artwork.id for card in cards)))

    assert await house.credits.balance(ANN) == Balance(1, 0)
    assert [await state_of(house, card.artwork.id) for card in cards] == [State.DRAFT] * 2


async def test_two_followers_of_one_database_do_the_work_once(house: House, studio: Studio) -> None:
    card = await ordered(house)
    event = studio.end("gen_1")

    await asyncio.gather(*(house.follower.hear(event) for _ in range(8)))

    assert await house.credits.balance(ANN) == Balance(4, 0)
    assert await state_of(house, card.artwork.id) is State.DRAFT


async def test_a_generation_that_is_away_is_asked_again(house: House, studio: Studio) -> None:
    card = await ordered(house)
    studio.away = True

    async with supervised([house.follower.run]):
        studio.away = False
        studio.end("gen_1")
        await eventually(lambda: finished(house, card.artwork.id))

    assert await state_of(house, card.artwork.id) is State.DRAFT


async def test_the_loops_finish_what_a_lost_answer_began(house: House, studio: Studio) -> None:
    """Nothing is called by hand: the orders' loop takes it up when its lease has run out."""
    card = await ordered(house)
    studio.end("gen_1")

    async with supervised(house.loops()):
        await eventually(lambda: finished(house, card.artwork.id))

    assert await state_of(house, card.artwork.id) is State.DRAFT


async def test_the_cursor_never_goes_back_and_an_older_event_has_no_effect(
    house: House, stores: Stores, studio: Studio
) -> None:
    """A replica that was slow tells an event behind the cursor, of an order whose end it would change."""
    card = await ordered(house)
    older, newer = studio.end("gen_1", OrderState.FAILED, "NO"), studio.end("gen_other")

    await stores.orders.hear(replace(newer, event_sequence=200))
    assert await stores.orders.hear(replace(older, event_sequence=100)) is None

    assert await stores.orders.cursor() == 200
    assert await state_of(house, card.artwork.id) is State.GENERATING
    assert await house.credits.balance(ANN) == Balance(4, 3)


async def test_an_order_is_looked_at_again_when_it_was_postponed_to(house: House, stores: Stores) -> None:
    """Neither at once, nor only when the lease of who looked last has ended."""
    card = await ordered(house)
    assert card.order
    await stores.orders.postpone(card.order.id, 0)
    (taken,) = await stores.orders.claim(10, 3600)
    await stores.orders.postpone(taken.id, 0)
    (again,) = await stores.orders.claim(10, 0)
    await stores.orders.postpone(again.id, 3600)

    assert [taken.id, again.id] == [card.order.id] * 2
    assert await stores.orders.claim(10, 0) == []
