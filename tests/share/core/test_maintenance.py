"""Shares stay unless SHARE_EXPIRE_DAYS is set, then all older ones are deleted; counts agree with the shares again."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, update

from services.chassis.database import Database, Transaction
from services.share.core.cached import CachedShares
from services.share.core.maintenance import BATCH, DAY_MS, Expiry, Reconciliation
from services.share.model import Facet, Policy, Share, View
from services.share.stores.tables import share_count
from tests.share.conftest import cached

Make = Callable[..., Share]
NOW_MS = 100 * DAY_MS
VIEWS = [View(Policy.ALL), View(Policy.ALL, Facet.STYLE, "ink"), View(Policy.ALL, Facet.TAG, "cat")]


async def stored(store: CachedShares, make: Make, days_old: int, number: int) -> list[str]:
    made = [make(create_ms=NOW_MS - days_old * DAY_MS, seo_tags=()) for _ in range(number)]
    return [(await store.insert(each, "d")).id for each in made]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_what_is_older_than_its_days_goes_and_the_rest_stays(store: CachedShares, make: Make) -> None:
    old = await stored(store, make, 31, 2 * BATCH + 1)
    young = await stored(store, make, 29, 2)
    published = await store.publish(old[0], NOW_MS - DAY_MS)

    await Expiry(store, 30, lambda: NOW_MS).expire()

    assert published
    assert set(await store.batch([*old, *young])) == {old[0], *young}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_by_default_nothing_goes(store: CachedShares, make: Make) -> None:
    old = await stored(store, make, 99, 2)
    loop = asyncio.create_task(Expiry(store, 0, lambda: NOW_MS).run())
    assert await store.batch(old)
    loop.cancel()

    assert set(await store.batch(old)) == set(old)


async def totals(store: CachedShares) -> list[int]:
    return [await store.total(view) for view in VIEWS]


def falsify(transaction: Transaction) -> None:
    """As an older version leaves them: one count too high, one gone, one of a value that no share has."""
    wrong = {"facet": "style", "value": "gone", "visibility": 2, "part": 0, "count": 3}
    transaction.execute(share_count.insert().values(wrong))
    transaction.execute(delete(share_count).where(share_count.c.facet == "tag"))
    one = update(share_count).where(share_count.c.facet == "style", share_count.c.value == "ink")
    transaction.execute(one.values(count=share_count.c.count + 5))


async def test_drift_is_measured_and_corrected(database: Database, make: Make) -> None:
    store = cached(database)
    for _ in range(3):
        await store.insert(make(style="ink", seo_tags=("cat",), original_ref=""), "d")
    right = await totals(store)
    await database.write(falsify)
    wrong, mended = await totals(store), REGISTRY.get_sample_value("kawaii_share_count_mended_total") or 0.0

    found = await Reconciliation(store, 1).reconcile()

    assert right == [3, 3, 3]
    assert wrong != right
    assert found >= 3 + 5 + 3
    assert REGISTRY.get_sample_value("kawaii_share_count_drift") == found
    assert REGISTRY.get_sample_value("kawaii_share_count_mended_total") == mended + found
    assert await totals(store) == right
    assert await store.total(View(Policy.ALL, Facet.STYLE, "gone")) == 0
    assert await Reconciliation(store, 1).reconcile() == 0


async def test_concurrent_reconciliations_beside_writers_correct_nothing_twice(database: Database, make: Make) -> None:
    store = cached(database)
    for _ in range(3):
        await store.insert(make(style="ink", seo_tags=("cat",), original_ref=""), "d")
    await database.write(falsify)
    more = [store.insert(make(style="ink", seo_tags=("cat",), original_ref=""), "d") for _ in range(8)]

    await asyncio.gather(*more, *(Reconciliation(store, 1).reconcile() for _ in range(4)))
    await Reconciliation(store, 1).reconcile()

    assert await totals(store) == [11, 11, 11]
    assert await Reconciliation(store, 1).reconcile() == 0


async def test_the_loop_looks_when_it_starts(database: Database, make: Make) -> None:
    store = cached(database)
    await store.insert(make(style="ink", seo_tags=("cat",), original_ref=""), "d")
    await database.write(falsify)
    mended = asyncio.Event()

    class Noticed(Reconciliation):
        async def reconcile(self) -> int:
            found = await super().reconcile()
            mended.set()
            return found

    loop = asyncio.create_task(Noticed(store, 1).run())
    await asyncio.wait_for(mended.wait(), 10)
    loop.cancel()

    assert await totals(store) == [1, 1, 1]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_the_loop_rests_between_two_looks(store: CachedShares) -> None:
    looks = [0]

    class Counting(Reconciliation):
        async def reconcile(self) -> int:
            looks[0] += 1
            return 0

    loop = asyncio.create_task(Counting(store, 1).run())
    for _ in range(10):
        await store.stats(0)
    loop.cancel()

    assert looks == [1]


async def test_an_unlisted_share_is_in_no_list_until_it_is_published(store: CachedShares, make: Make) -> None:
    for original in ("", "https://a.example/photo.png"):
        kept = await store.insert(make(style="ink", seo_tags=("cat",), original_ref=original, unlisted=True), "d")
        for policy in Policy:
            for view in (View(policy), View(policy, Facet.STYLE, "ink"), View(policy, Facet.TAG, "cat")):
                assert await store.page(view, limit=10) == ()
                assert await store.total(view) == 0
            assert await store.latest(View(policy), 10) == ()
            assert await store.links(View(policy), 0, 10**6) == ()
        assert await store.find(kept.id) == kept
        assert (await store.stats(0)).total == 1

        published = await store.publish(kept.id, 5)
        assert published
        for view in (View(Policy.PUBLISHED), View(Policy.PUBLISHED_OR_TEXT, Facet.TAG, "cat"), View(Policy.ALL)):
            assert [each.id for each in await store.page(view, limit=10)] == [kept.id]
            assert await store.total(view) == 1
        assert await store.reconcile() == 0
        assert await store.delete(kept.id)
        assert await store.reconcile() == 0
