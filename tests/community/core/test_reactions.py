"""One row for each person and artwork: counts equal rows, however many ask at once."""

import asyncio
import random
from collections import Counter

import pytest
from sqlalchemy import update

from services.chassis.errors import FailedPrecondition, NotFound, ResourceExhausted, Unauthenticated
from services.community.composition import CommunityService
from services.community.core.reactions import Reactions
from services.community.model import Drift, Reaction
from services.community.model.hotness import HOUR_MS
from services.community.ports import NotListedError
from services.community.stores import Stores
from services.community.stores.tables import artwork
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, BOB, finished_draft, published
from tests.community.stubs import Clock
from tests.support.awaited import awaited

LIKE, FAVORITE = Reaction.LIKE, Reaction.FAVORITE


async def test_a_repeated_like_counts_once_and_so_does_its_return(community: CommunityService) -> None:
    artwork_id = (await published(community)).artwork.id
    react = community.reactions.react

    counts = [(await react(BOB, artwork_id, LIKE, wanted=wanted)).like_count for wanted in (True, True, False, False)]

    assert counts == [1, 1, 0, 0]


async def test_likes_and_favourites_are_two_things(community: CommunityService) -> None:
    artwork_id = (await published(community)).artwork.id

    await community.reactions.react(BOB, artwork_id, LIKE, wanted=True)
    await community.reactions.react(ANN, artwork_id, FAVORITE, wanted=True)
    stands = await community.reactions.react(BOB, artwork_id, FAVORITE, wanted=True)

    assert (stands.like_count, stands.favorite_count, stands.liked, stands.favorited) == (1, 2, True, True)
    assert stands.hot_score == 5


async def test_many_at_once_count_as_many_as_there_are_rows(community: CommunityService) -> None:
    artwork_id = (await published(community)).artwork.id
    calls = [
        community.reactions.react(f"user{number % 5}", artwork_id, kind, wanted=True)
        for kind in (LIKE, FAVORITE)
        for number in range(25)
    ]

    await asyncio.gather(*calls)

    card = await community.artworks.get(ANN, artwork_id)
    assert (card.artwork.like_count, card.artwork.favorite_count) == (5, 5)
    assert (await community.admin_operations.reconcile(mend=False)) == Drift(1, 0, ())


async def test_many_concurrent_likes_and_unlikes_end_as_the_model_says(community: CommunityService) -> None:
    artworks = [(await published(community, title=f"t{number}")).artwork.id for number in range(5)]
    dice = random.Random(6)

    async def person(user_id: str) -> Counter[tuple[str, Reaction]]:
        """Each person acts in order, so the last word on each artwork is known."""
        wants: dict[tuple[str, Reaction], bool] = {}
        for _ in range(30):
            artwork_id, kind, wanted = dice.choice(artworks), dice.choice((LIKE, FAVORITE)), dice.random() < 0.6
            await community.reactions.react(user_id, artwork_id, kind, wanted=wanted)
            wants[artwork_id, kind] = wanted
        return Counter(key for key, wanted in wants.items() if wanted)

    counters = await asyncio.gather(*(person(f"user{number}") for number in range(12)))

    model = sum(counters, Counter[tuple[str, Reaction]]())
    for artwork_id in artworks:
        found = (await community.artworks.get(ANN, artwork_id)).artwork
        assert (found.like_count, found.favorite_count) == (model[artwork_id, LIKE], model[artwork_id, FAVORITE])
    assert (await community.admin_operations.reconcile(mend=False)).amount == 0


async def test_wrong_counts_are_found_named_and_mended(community: CommunityService, stores: Stores) -> None:
    right, wrong = (
        (await published(community, title="a")).artwork.id,
        (await published(community, title="b")).artwork.id,
    )
    await community.reactions.react(BOB, wrong, LIKE, wanted=True)
    await falsify(stores, wrong)

    looked = await community.admin_operations.reconcile(mend=False)
    mended = await community.admin_operations.reconcile(mend=True)
    after = await community.admin_operations.reconcile(mend=False)

    assert looked == mended == Drift(2, 9, (wrong,))
    assert after == Drift(2, 0, ())
    assert (await community.artworks.get(ANN, wrong)).artwork.like_count == 1
    assert (await community.artworks.get(ANN, right)).artwork.like_count == 0


async def falsify(stores: Stores, artwork_id: str) -> None:
    false = update(artwork).where(artwork.c.id == artwork_id).values(like_count=10)
    await stores.database.write(lambda transaction: transaction.execute(false))


async def test_who_may_react(community: CommunityService, fake_generations: FakeGenerations) -> None:
    draft = (await finished_draft(community, fake_generations)).artwork.id
    react = community.reactions.react

    with pytest.raises(Unauthenticated):
        await react("", draft, LIKE, wanted=True)
    with pytest.raises(NotFound):
        await react(BOB, draft, LIKE, wanted=True)
    with pytest.raises(NotFound):
        await react(BOB, "art_none", LIKE, wanted=True)
    with pytest.raises(FailedPrecondition) as caught:
        await react(ANN, draft, LIKE, wanted=True)

    assert caught.value.reason == "NOT_PUBLISHED"


async def test_a_stranger_takes_no_like_back_from_a_draft_and_its_owner_may(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    draft = (await finished_draft(community, fake_generations)).artwork.id

    with pytest.raises(NotFound):
        await community.reactions.react(BOB, draft, LIKE, wanted=False)
    assert not (await community.reactions.react(ANN, draft, LIKE, wanted=False)).changed


async def test_an_artwork_that_is_no_longer_published_when_its_row_is_locked_takes_no_like(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    """Whoever asks may have seen it published a moment before."""
    draft = (await finished_draft(community, fake_generations)).artwork.id

    store = awaited(stores.database, stores.reactions)
    liked = await store.react(BOB, draft, LIKE, wanted=True, per_hour=0)
    missing = await store.react(BOB, "art_none", LIKE, wanted=True, per_hour=0)
    returned = await store.react(ANN, draft, LIKE, wanted=False, per_hour=0)

    assert (liked, missing) == (None, None)
    with pytest.raises(NotListedError):
        await store.react(ANN, draft, LIKE, wanted=True, per_hour=0)
    assert returned is not None
    assert returned.like_count == 0


@pytest.fixture
def strict(community: CommunityService, stores: Stores, clock: Clock) -> Reactions:
    """Three changes of a kind in an hour."""
    return Reactions(stores.database, community.artworks, stores.reactions, stores.lists, per_hour=3, clock=clock)


async def test_only_changes_are_counted_against_the_hour(
    community: CommunityService, strict: Reactions, clock: Clock
) -> None:
    artwork_id = (await published(community)).artwork.id
    for _ in range(5):
        await strict.react(BOB, artwork_id, LIKE, wanted=True)
    await strict.react(BOB, artwork_id, LIKE, wanted=False)
    await strict.react(BOB, artwork_id, LIKE, wanted=True)

    with pytest.raises(ResourceExhausted) as caught:
        await strict.react(BOB, artwork_id, LIKE, wanted=False)

    assert 0 < (caught.value.retry_after or 0) <= 3600
    assert (await community.artworks.get(BOB, artwork_id)).liked
    assert (await strict.react(BOB, artwork_id, FAVORITE, wanted=True)).favorited
    assert (await strict.react(ANN, artwork_id, LIKE, wanted=True)).like_count == 2
    clock.now += HOUR_MS
    assert not (await strict.react(BOB, artwork_id, LIKE, wanted=False)).liked


async def test_the_hour_is_exact_when_many_ask_at_once(community: CommunityService, strict: Reactions) -> None:
    artworks = [(await published(community, title=f"t{number}")).artwork.id for number in range(10)]

    outcomes = await asyncio.gather(
        *(strict.react(BOB, each, LIKE, wanted=True) for each in artworks), return_exceptions=True
    )

    assert sum(isinstance(outcome, ResourceExhausted) for outcome in outcomes) == 7
    assert (await community.admin_operations.reconcile(mend=False)).amount == 0


async def test_a_report_is_kept_once_for_each_person(community: CommunityService) -> None:
    artwork_id = (await published(community)).artwork.id
    await community.reactions.report(BOB, artwork_id, "rude")
    await community.reactions.report(BOB, artwork_id, "very rude")
    await community.reactions.report(ANN, artwork_id, "mine")

    first, token = await community.admin_operations.reports(1, "")
    second, end = await community.admin_operations.reports(1, token)

    assert {(each.user_id, each.reason) for each in (*first, *second)} == {(BOB, "very rude"), (ANN, "mine")}
    assert end == ""
