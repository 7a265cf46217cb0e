"""Credits are exact however many spend and check in at once."""

import asyncio

import pytest

from services.chassis.clock import date_of
from services.chassis.errors import FailedPrecondition, Unauthenticated, Unimplemented
from services.community.composition import CommunityService
from services.community.core.credits import Credits
from services.community.model import Balance, CheckIn, EntryKind, OrderState
from services.community.model.hotness import DAY_MS, HOUR_MS
from services.community.stores import Stores
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, order_of, ordered
from tests.community.stubs import START_MS, Clock
from tests.support.awaited import awaited


async def test_ten_orders_at_once_take_no_more_than_there_is(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    outcomes = await asyncio.gather(*(ordered(community) for _ in range(10)), return_exceptions=True)

    assert sum(isinstance(outcome, FailedPrecondition) for outcome in outcomes) == 8
    assert (await community.credits.balance(ANN), len(fake_generations.placed)) == (Balance(1, 6), 2)


async def test_after_everything_has_ended_nothing_is_held(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    cards = [await ordered(community, f"user{number}") for number in range(8)]
    states = (OrderState.SUCCEEDED, OrderState.FAILED, OrderState.TIMED_OUT)
    events = [
        fake_generations.end(order_of(card).generation_id, states[number % 3], "WHY")
        for number, card in enumerate(cards)
    ]

    apply = awaited(stores.database, stores.orders).apply
    await asyncio.gather(*(apply(status) for status in events for _ in range(3)))
    for status in events:
        await community.orders.process(
            order_of(await community.artworks.find(owner_of(cards, status), status.generation_id))
        )

    balances = [await community.credits.balance(card.artwork.user_id) for card in cards]
    assert [balance.held for balance in balances] == [0] * 8
    assert [balance.credits for balance in balances] == [4, 7, 7, 4, 7, 7, 4, 7]
    for card, balance in zip(cards, balances, strict=True):
        lines = await stores.database.read(stores.users.entries, card.artwork.user_id)
        assert sum(line.amount for line in lines) == balance.credits


def owner_of(cards: list, status: object) -> str:  # type: ignore[type-arg]
    return next(card.artwork.user_id for card in cards if order_of(card).generation_id == status.generation_id)


async def test_a_check_in_counts_once_a_day_however_many_ask(community: CommunityService) -> None:
    answers = await asyncio.gather(*(community.credits.check_in(ANN) for _ in range(8)))

    assert sorted(added for _, added in answers) == [0] * 7 + [12]
    assert {status for status, _ in answers} == {CheckIn(community.credits.today(), 1, 1)}
    assert await community.credits.balance(ANN) == Balance(19, 0)


async def test_a_streak_counts_the_days_in_a_row(community: CommunityService, clock: Clock) -> None:
    for _ in range(4):
        await community.credits.check_in(ANN)
        clock.now += DAY_MS

    today = community.credits.today()
    assert await community.credits.status(ANN) == CheckIn(today - 1, 4, 4)
    clock.now += DAY_MS
    assert await community.credits.status(ANN) == CheckIn(today - 1, 0, 4)
    assert (await community.credits.check_in(ANN))[0] == CheckIn(today + 1, 1, 5)


async def test_the_day_begins_at_midnight_in_japan(community: CommunityService, clock: Clock) -> None:
    clock.now = START_MS - START_MS % DAY_MS + 15 * HOUR_MS - 1
    before = community.credits.today()
    clock.now += 1

    assert (community.credits.today() - before, date_of(community.credits.today()), date_of(-1)) == (
        1,
        "2023-11-15",
        "",
    )


async def test_every_change_of_a_balance_is_a_line(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    await community.credits.check_in(ANN)
    await ordered(community)
    await stores.database.write(stores.orders.apply, fake_generations.end("gen_1", OrderState.FAILED, "NO"))

    lines = [(line.kind, line.amount) for line in await stores.database.read(stores.users.entries, ANN)]
    kinds = EntryKind
    assert lines == [(kinds.GRANT, 7), (kinds.CHECKIN, 12), (kinds.HOLD, -3), (kinds.RELEASE, 3)]


async def test_a_site_without_credits_says_so(stores: Stores, clock: Clock) -> None:
    credits_ = Credits(stores.database, stores.credits, enabled=False, clock=clock)

    for call in (credits_.balance, credits_.check_in, credits_.status):
        with pytest.raises(Unimplemented) as caught:
            await call(ANN)
        assert caught.value.reason == "CREDITS_DISABLED"


async def test_nobody_has_no_balance(community: CommunityService) -> None:
    with pytest.raises(Unauthenticated):
        await community.credits.balance("")
