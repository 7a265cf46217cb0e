"""Shares stay for good, unless SHARE_EXPIRE_DAYS is set; then all older ones are deleted."""

import asyncio
from collections.abc import Callable

import pytest

from services.share.core import Expiry
from services.share.core.expiry import BATCH, DAY_MS
from services.share.model import Share
from services.share.ports import ShareStore

Make = Callable[..., Share]
NOW_MS = 100 * DAY_MS


async def stored(store: ShareStore, make: Make, days_old: int, number: int) -> list[str]:
    made = [make(create_ms=NOW_MS - days_old * DAY_MS, seo_tags=()) for _ in range(number)]
    return [(await store.insert(each, "d")).id for each in made]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_what_is_older_than_its_days_goes_and_the_rest_stays(store: ShareStore, make: Make) -> None:
    old = await stored(store, make, 31, 2 * BATCH + 1)
    young = await stored(store, make, 29, 2)
    published = await store.publish(old[0], NOW_MS - DAY_MS)

    await Expiry(store, 30, lambda: NOW_MS).expire()

    assert published
    assert set(await store.batch([*old, *young])) == {old[0], *young}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_by_default_nothing_goes(store: ShareStore, make: Make) -> None:
    old = await stored(store, make, 99, 2)
    loop = asyncio.create_task(Expiry(store, 0, lambda: NOW_MS).run())
    assert await store.batch(old)
    loop.cancel()

    assert set(await store.batch(old)) == set(old)
