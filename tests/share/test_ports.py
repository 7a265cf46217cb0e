"""What every share store does, on every engine: the docstrings of the port, executed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from services.chassis.database import Database
from services.share.core.cached import CachedShares
from services.share.model import SHOWN, Facet, Policy, Share, SitemapLink, Stats, View
from services.share.stores.tables import share_tag
from tests.share.bulk_shares import recount
from tests.share.conftest import in_sql

Make = Callable[..., Share]
ALL = View(Policy.ALL)


async def ids(store: CachedShares, view: View = ALL) -> list[str]:
    return [each.id for each in await store.page(view, limit=100)]


async def test_a_share_is_read_as_it_was_inserted(store: CachedShares, make: Make) -> None:
    given = make(
        prompt="猫 👩‍👩‍👧 \u202e ' \" \\ %s {} \n", seo_tags=("猫", "a'b"), original_ref="https://a.example/o?x=1#y"
    )

    kept = await store.insert(given, "digest")

    assert kept.sequence > 0
    assert kept == replace(given, sequence=kept.sequence)
    assert await store.find(given.id) == kept
    assert await store.token_digest(given.id) == "digest"


async def test_an_unknown_share_is_none(store: CachedShares) -> None:
    assert await store.find("share_x") is None
    assert await store.token_digest("share_x") is None
    assert await store.publish("share_x", 1) is None
    assert await store.delete("share_x") is False
    assert await store.batch(["share_x"]) == {}
    assert await store.batch([]) == {}


async def test_one_picture_is_kept_once(store: CachedShares, make: Make) -> None:
    first = await store.insert(make(generated_ref="generated/a.png"), "first")

    assert await store.insert(make(generated_ref="generated/a.png", prompt="another"), "second") == first
    assert await store.token_digest(first.id) == "first"
    assert await ids(store) == [first.id]


async def test_fifty_concurrent_inserts_of_one_picture_keep_one(store: CachedShares, make: Make) -> None:
    kept = await asyncio.gather(*(store.insert(make(generated_ref="generated/a.png"), "d") for _ in range(50)))

    assert set(kept) == {kept[0]}
    assert await ids(store) == [kept[0].id]


async def test_fifty_concurrent_inserts_of_different_pictures_keep_all(store: CachedShares, make: Make) -> None:
    kept = await asyncio.gather(*(store.insert(make(), "d") for _ in range(50)))

    assert await ids(store) == [each.id for each in sorted(kept, key=lambda each: -each.sequence)]


async def test_totals_are_right_whatever_happens_at_once(store: CachedShares, make: Make) -> None:
    kept = [
        await store.insert(make(style=f"s{number % 3}", seo_tags=("x", f"t{number % 2}")), "d") for number in range(12)
    ]
    inserts = (store.insert(make(style="s0", seo_tags=("t1", "x")), "d") for _ in range(10))
    publications = (store.publish(each.id, 5) for each in (*kept[:6], *kept[:6]))
    deletions = (store.delete(each.id) for each in (*kept[4:8], *kept[4:8]))
    await asyncio.gather(*inserts, *publications, *deletions)

    for policy in Policy:
        for facet, value in ((Facet.NONE, ""), (Facet.STYLE, "s0"), (Facet.TAG, "x"), (Facet.TAG, "t1")):
            view = View(policy, facet, value)
            assert await store.total(view) == len(await store.page(view, limit=100)), view
    assert (await store.stats(1)).published == await store.total(View(Policy.PUBLISHED)) == 4
    assert (await store.stats(1)).total == await store.total(ALL) == 12 + 10 - 4


async def test_totals_are_those_of_a_new_count(store: CachedShares, make: Make, database: Database) -> None:
    """Of the count by which a migration began to keep them."""
    kept = [await store.insert(make(style=f"s{number % 2}", stored=number > 1), "d") for number in range(6)]
    await store.publish(kept[0].id, 5)
    await store.delete(kept[5].id)
    views = [
        View(policy, *of) for policy in Policy for of in ((Facet.NONE, ""), (Facet.STYLE, "s0"), (Facet.TAG, "cat"))
    ]
    before = [await store.total(view) for view in views], await in_sql(database).stats(1)

    await database.write(recount)

    assert ([await store.total(view) for view in views], await in_sql(database).stats(1)) == before


async def test_a_batch_holds_those_that_exist(store: CachedShares, make: Make) -> None:
    kept = [await store.insert(make(), "d") for _ in range(3)]

    found = await store.batch([kept[2].id, "share_x", kept[0].id])

    assert found == {kept[2].id: kept[2], kept[0].id: kept[0]}


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("facet", Facet)
async def test_a_page_holds_what_the_policy_and_the_facet_say(
    store: CachedShares, make: Make, policy: Policy, facet: Facet
) -> None:
    originals = ("", "https://a.example/o.png")
    kept = [
        await store.insert(make(original_ref=original, style=value, model=value, seo_tags=(value, "other")), "d")
        for original in originals
        for value in ("x", "X", "x", "X")
    ]
    for at in (2, 3, 6, 7):
        await store.publish(kept[at].id, 5)
        kept[at] = replace(kept[at], publish_ms=5)
    view = View(policy, facet, "x" if facet else "")

    shown = [each for each in kept if each.visibility in SHOWN[policy] and (not facet or each.style == "x")][::-1]

    assert {each.visibility for each in shown} == set(SHOWN[policy])
    assert await store.page(view, limit=100) == tuple(shown)
    assert await store.page(view, limit=1, skip=1) == tuple(shown[1:2])
    assert await store.page(view, limit=100, before=shown[0].sequence) == tuple(shown[1:])
    assert await store.total(view) == len(shown)
    for each in kept:
        assert await store.delete(each.id)
        shown = [other for other in shown if other.id != each.id]
        assert await store.total(view) == len(shown)


async def test_the_latest_come_by_the_time_their_pictures_were_made(store: CachedShares, make: Make) -> None:
    old, new, same = [await store.insert(make(generate_ms=ms), "d") for ms in (1000, 3000, 3000)]
    middle = await store.insert(make(generate_ms=2000, original_ref="uploads/a.png"), "d")

    assert await store.latest(ALL, 12) == (same, new, middle, old)
    assert await store.latest(ALL, 2) == (same, new)
    assert await store.latest(View(Policy.TEXT_TO_IMAGE), 12) == (same, new, old)


async def test_publishing_shows_a_share_and_its_first_time_stays(store: CachedShares, make: Make) -> None:
    kept = await store.insert(make(seo_tags=("cat",)), "d")
    assert await store.latest(View(Policy.PUBLISHED), 12) == ()

    published = await store.publish(kept.id, 7)

    assert published == replace(kept, publish_ms=7)
    assert await store.publish(kept.id, 8) == published
    assert await ids(store, View(Policy.PUBLISHED, Facet.TAG, "cat")) == [kept.id]
    assert await store.latest(View(Policy.PUBLISHED), 12) == (published,)


async def test_a_deleted_share_is_gone_everywhere_and_may_come_back(
    store: CachedShares, make: Make, database: Database
) -> None:
    kept = await store.insert(make(generated_ref="generated/a.png"), "d")
    assert await store.total(ALL) == 1

    assert await store.delete(kept.id) is True

    assert await store.find(kept.id) is None
    assert await ids(store) == await ids(store, View(Policy.ALL, Facet.TAG, "cat")) == []
    assert await store.total(ALL) == 0
    tags = select(func.count()).select_from(share_tag)
    assert await database.read(lambda transaction: transaction.scalar(tags)) == 0
    again = await store.insert(make(generated_ref="generated/a.png"), "d")
    assert again.sequence > kept.sequence


async def test_a_share_may_have_no_tags_and_equal_ones_count_once(store: CachedShares, make: Make) -> None:
    none, twice = await store.insert(make(seo_tags=()), "d"), await store.insert(make(seo_tags=("a", "a")), "d")

    assert none.seo_tags == ()
    assert await ids(store, View(Policy.ALL, Facet.TAG, "a")) == [twice.id]


async def test_the_statistics_count_all_shares(store: CachedShares, make: Make) -> None:
    assert await store.stats(1) == Stats(0, 0, 0, 1)
    for stored in (True, True, False):
        kept = await store.insert(make(stored=stored), "d")
    await store.publish(kept.id, 5)

    assert await store.stats(2) == Stats(total=3, stored=2, published=1, update_ms=2)


async def test_links_lead_to_what_is_listed_oldest_first(store: CachedShares, make: Make) -> None:
    view = View(Policy.PUBLISHED)
    assert await store.last_sequence(view) == 0
    kept = [await store.insert(make(), "d") for _ in range(4)]
    for at in (0, 2):
        await store.publish(kept[at].id, kept[at].create_ms + 5)

    links = (SitemapLink(kept[0].id, kept[0].create_ms + 5), SitemapLink(kept[2].id, kept[2].create_ms + 5))

    assert await store.last_sequence(view) == kept[2].sequence
    assert await store.links(view, 0, kept[3].sequence) == links
    assert await store.links(view, kept[0].sequence, kept[2].sequence) == links[1:]
    assert await store.links(view, 0, kept[2].sequence - 1) == links[:1]
    assert (await store.links(View(Policy.ALL), 0, kept[3].sequence))[1] == SitemapLink(kept[1].id, kept[1].create_ms)


async def test_shares_expire_after_their_creation_and_their_publication(store: CachedShares, make: Make) -> None:
    old, renewed, older, new = [await store.insert(make(create_ms=ms), "d") for ms in (20, 20, 10, 30)]
    await store.publish(renewed.id, 30)
    await store.find(old.id)

    assert await store.expire(30, 1) == (older.id,)
    assert await store.expire(30, 5) == (old.id,)
    assert await store.expire(30, 5) == ()
    assert await ids(store) == [new.id, renewed.id]
    assert await store.find(old.id) is None
