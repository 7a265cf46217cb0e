"""The daily quota is exact on every engine: counted with the order, in its transaction, for each caller apart."""

import asyncio

import pytest
from sqlalchemy import func, insert, select

from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, ResourceExhausted
from services.generation.quota import SITE, Charge
from services.generation.stores.tables import generation, outbox, quota_use
from tests.generation.builders import new
from tests.support.awaited import Awaited
from tests.support.sql import execute, fetch_all, fetch_value

TEN = [Charge("192.0.2.1", 10)]


async def counted(database: Database) -> list[tuple[str, int]]:
    rows = await fetch_all(database, select(quota_use.c.subject, quota_use.c.used).order_by(quota_use.c.subject))
    return [(row.subject, row.used) for row in rows]


async def stored(database: Database) -> tuple[int, int]:
    """How many orders and events there are."""
    orders = await fetch_value(database, select(func.count()).select_from(generation))
    return int(orders or 0), int(await fetch_value(database, select(func.count()).select_from(outbox)) or 0)


async def attempted(store: Awaited, *charges: Charge) -> bool:
    """Whether an order was taken."""
    try:
        await store.insert(new(), "", "hash", charges)
    except ResourceExhausted:
        return False
    return True


async def test_an_order_says_what_is_left(store: Awaited) -> None:
    first = (await store.insert(new(), "", "hash", TEN)).quota
    second = (await store.insert(new(), "", "hash", TEN)).quota

    assert first is not None
    assert second is not None
    assert (first.limit, first.remaining, second.remaining) == (10, 9, 8)
    assert 0 < first.reset_seconds <= 86_400


async def test_of_forty_at_once_exactly_ten_are_taken(store: Awaited, database: Database) -> None:
    taken = await asyncio.gather(*(attempted(store, *TEN) for _ in range(40)))

    assert taken.count(True) == 10
    assert await counted(database) == [("192.0.2.1", 10)]
    assert await stored(database) == (10, 10)


async def test_the_refusal_says_when_to_come_back_and_stores_nothing(store: Awaited, database: Database) -> None:
    one = [Charge("192.0.2.1", 1)]
    await store.insert(new(), "", "hash", one)
    with pytest.raises(ResourceExhausted) as refusal:
        await store.insert(new(), "", "hash", one)

    assert (refusal.value.reason, refusal.value.metadata) == ("RATE_LIMIT", {"quota_limit": "1"})
    assert 0 < (refusal.value.retry_after or 0) <= 86_400
    assert await stored(database) == (1, 1)


async def test_callers_do_not_count_for_each_other(store: Awaited, database: Database) -> None:
    one, other = Charge("192.0.2.1", 1), Charge("2001:db8::/64", 1)

    assert [await attempted(store, charge) for charge in (one, other, one, other)] == [True, True, False, False]
    assert await counted(database) == [("192.0.2.1", 1), ("2001:db8::/64", 1)]


async def test_a_repeated_request_counts_once_also_at_once(store: Awaited, database: Database) -> None:
    repeated = [store.insert(new(), "key", "hash", [Charge("192.0.2.1", 1)]) for _ in range(10)]
    orders = await asyncio.gather(*repeated)

    assert len({order.generation.id for order in orders}) == 1
    assert [order.joined for order in orders].count(False) == 1
    assert [order.quota is None for order in orders].count(False) == 1
    assert await counted(database) == [("192.0.2.1", 1)]


async def test_a_key_used_for_another_order_counts_nothing(store: Awaited, database: Database) -> None:
    await store.insert(new(), "key", "hash", TEN)
    with pytest.raises(AlreadyExists):
        await store.insert(new(), "key", "other", TEN)

    assert await counted(database) == [("192.0.2.1", 1)]


async def test_days_that_are_over_do_not_count_and_are_forgotten(store: Awaited, database: Database) -> None:
    await execute(database, insert(quota_use).values(day=1, subject="192.0.2.1", used=10))
    await execute(database, insert(quota_use).values(day=1, subject="192.0.2.2", used=3))

    assert await attempted(store, Charge("192.0.2.1", 1))
    assert await counted(database) == [("192.0.2.1", 1)]


async def test_without_a_charge_nothing_is_counted(store: Awaited, database: Database) -> None:
    assert (await store.insert(new(), "", "hash")).quota is None
    assert await counted(database) == []


async def test_an_order_counts_for_a_person_and_an_address_or_for_neither(store: Awaited, database: Database) -> None:
    one, other = Charge("192.0.2.1", 1), Charge("192.0.2.2", 1)
    person = Charge("person", 2)
    assert await attempted(store, one, person)
    with pytest.raises(ResourceExhausted) as refusal:
        await store.insert(new(), "", "hash", [one, person])

    assert refusal.value.metadata == {"quota_limit": "1"}
    assert await counted(database) == [("192.0.2.1", 1), ("person", 1)]
    assert await attempted(store, other, person)
    assert not await attempted(store, Charge("192.0.2.3", 1), person)
    assert await counted(database) == [("192.0.2.1", 1), ("192.0.2.2", 1), ("person", 2)]
    assert await stored(database) == (2, 2)


async def test_an_order_says_what_is_left_to_whoever_has_least(store: Awaited) -> None:
    placed = await store.insert(new(), "", "hash", [Charge("person", 9), *TEN, Charge(SITE, 3)])

    assert placed.quota is not None
    assert (placed.quota.limit, placed.quota.remaining) == (9, 8)


async def test_orders_of_the_same_two_at_once_do_not_wait_for_each_other_for_ever(
    store: Awaited, database: Database
) -> None:
    pair = [Charge("a", 40), Charge("b", 40)]
    taken = await asyncio.gather(*(attempted(store, *pair[:: 1 - 2 * (turn % 2)]) for turn in range(20)))

    assert all(taken)
    assert await counted(database) == [("a", 20), ("b", 20)]


async def test_the_site_takes_so_many_orders_of_all_together(store: Awaited, database: Database) -> None:
    site = Charge(SITE, 10)
    taken = await asyncio.gather(*(attempted(store, site, Charge(f"192.0.2.{turn}", 5)) for turn in range(25)))
    with pytest.raises(ResourceExhausted) as refusal:
        await store.insert(new(), "", "hash", [site, Charge("192.0.2.99", 5)])

    assert taken.count(True) == 10
    assert await stored(database) == (10, 10)
    assert (refusal.value.reason, refusal.value.metadata) == ("SITE_QUOTA_EXCEEDED", {})
    assert 0 < (refusal.value.retry_after or 0) <= 86_400
    assert sum(used for subject, used in await counted(database) if subject != SITE) == 10
