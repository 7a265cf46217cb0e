"""What people browse: the right artworks, in the right order, each once, page by page."""

import pytest

from services.chassis.errors import InvalidArgument, NotFound
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.core.saving import Save
from services.community.model import ArtworkPage, Reaction, Shelf
from services.community.model.hotness import AGES, DAY_MS, HOUR_MS, Category
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, BOB, finished_draft, published
from tests.community.stubs import START_MS, Clock


def titles(page: ArtworkPage) -> str:
    return "".join(card.artwork.title for card in page.cards)


async def liked(community: CommunityService, title: str, likes: int) -> str:
    artwork_id = (await published(community, title=title)).artwork.id
    for number in range(likes):
        await community.reactions.react(f"user{number}", artwork_id, Reaction.LIKE, wanted=True)
    return artwork_id


@pytest.fixture
async def five(community: CommunityService, clock: Clock) -> None:
    """Five artworks, an hour between them: a is the oldest and has most likes, e is the newest and has none."""
    for number, title in enumerate("abcde"):
        await liked(community, title, 4 - number)
        clock.now += HOUR_MS
    await community.score_decay.decay_due()


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_pages_show_each_artwork_once(community: CommunityService, size: int) -> None:
    seen, token = "", ""
    while True:
        page = await community.feed.newest(PageRequest("", size, token))
        seen, token = seen + titles(page), page.next_token
        if not token:
            break

    assert seen == "edcba"


@pytest.mark.usefixtures("five")
async def test_what_is_published_while_somebody_reads_moves_nothing(community: CommunityService) -> None:
    first = await community.feed.newest(PageRequest("", 2))
    await published(community, title="f")

    assert titles(first) + titles(await community.feed.newest(PageRequest("", 9, first.next_token))) == "edcba"
    assert titles(await community.feed.newest(PageRequest("", 1))) == "f"


@pytest.mark.usefixtures("five")
async def test_the_hottest_come_first_and_the_page_goes_on(community: CommunityService) -> None:
    first = await community.feed.hottest(PageRequest("", 2))

    assert titles(first) + titles(await community.feed.hottest(PageRequest("", 9, first.next_token))) == "abcde"
    assert titles(await community.feed.hottest(PageRequest("", 2, skip=3))) == "de"


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize(("window", "shown"), [(HOUR_MS, "e"), (3 * HOUR_MS, "cde"), (DAY_MS, "abcde"), (0, "abcde")])
async def test_a_window_shows_what_was_published_in_it(community: CommunityService, window: int, shown: str) -> None:
    assert titles(await community.feed.hottest(PageRequest(""), window)) == shown


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("window", [3 * HOUR_MS, DAY_MS, 7 * DAY_MS])
async def test_a_window_goes_on_page_by_page(community: CommunityService, window: int) -> None:
    seen, token = "", ""
    while True:
        page = await community.feed.hottest(PageRequest("", 1, token), window)
        seen, token = seen + titles(page), page.next_token
        if not token:
            break

    assert seen == titles(await community.feed.hottest(PageRequest(""), window))


async def test_a_category_shows_what_has_reached_its_score(community: CommunityService) -> None:
    for title, likes in (("a", 51), ("b", 21), ("c", 19)):
        await liked(community, title, likes)

    assert titles(await community.feed.hottest(PageRequest(""), 0, Category.HOT)) == "a"
    assert titles(await community.feed.hottest(PageRequest(""), 0, Category.RISING)) == "ab"
    assert titles(await community.feed.hottest(PageRequest(""), 0, Category.VIRAL)) == ""
    assert titles(await community.feed.hottest(PageRequest(""))) == "abc"


async def test_age_overtakes_likes(community: CommunityService, clock: Clock) -> None:
    await liked(community, "old", 3)
    clock.now = START_MS + 2 * DAY_MS
    await liked(community, "new", 1)

    assert await community.score_decay.decay_due() == 1  # the new one is not due
    assert titles(await community.feed.hottest(PageRequest(""))) == "newold"
    assert await community.score_decay.decay_due() == 0


async def test_hotness_tells_score_and_place(community: CommunityService) -> None:
    first, second, third = (
        await liked(community, "a", 3),
        await liked(community, "b", 1),
        await liked(community, "c", 0),
    )

    found = [await community.feed.hotness("", each) for each in (first, second, third)]

    assert [(each.rank, each.card.artwork.hot_score, each.decay) for each in found] == [(1, 3, 1), (2, 1, 1), (0, 0, 1)]
    with pytest.raises(NotFound):
        await community.feed.hotness("", "art_none")


async def test_many_are_as_hot_at_once_as_each_alone(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    ids = [await liked(community, title, likes) for title, likes in (("a", 3), ("b", 1), ("c", 1), ("d", 0))]
    draft = (await finished_draft(community, fake_generations)).artwork.id

    asked = ["art_none", *ids[::-1], ids[0], draft]
    alone = [await community.feed.hotness(ANN, each) for each in (*ids[::-1], draft)]

    assert await community.feed.hotnesses(ANN, asked) == tuple(alone)
    assert [each.rank for each in alone] == [0, 2, 2, 1, 0]
    assert len(await community.feed.hotnesses(BOB, asked)) == 4  # without Ann's draft
    with pytest.raises(InvalidArgument):
        await community.feed.hotnesses("", ["art_1"] * 201)


async def test_a_window_shows_nothing_older_however_it_is_liked(community: CommunityService, clock: Clock) -> None:
    await liked(community, "old", 60)
    clock.now += 8 * DAY_MS
    for title, likes in (("a", 51), ("b", 21), ("c", 1), ("d", 0)):
        await liked(community, title, likes)

    for scores_decayed in (False, True):  # before and after the score decay has seen what became old
        if scores_decayed:
            await community.score_decay.decay_due()
        assert titles(await community.feed.hottest(PageRequest(""), 7 * DAY_MS, Category.ALL)) == "abcd"
        assert titles(await community.feed.hottest(PageRequest(""), 7 * DAY_MS, Category.RISING)) == "ab"
        assert titles(await community.feed.hottest(PageRequest(""), HOUR_MS, Category.HOT)) == "a"
        assert set(titles(await community.feed.hottest(PageRequest(""), 30 * DAY_MS))) == set("oldabcd")


async def test_an_artwork_leaves_each_window_at_its_end_and_the_score_decay_rests(
    community: CommunityService, clock: Clock
) -> None:
    await liked(community, "a", 0)
    born, seen = clock.now, dict[int, list[str]]()
    for window in AGES:
        for late in (0, 1):
            clock.now = born + window + late
            seen.setdefault(window, []).append(titles(await community.feed.hottest(PageRequest(""), window)))
        assert [await community.score_decay.decay_due(), await community.score_decay.decay_due()] == [1, 0]
        assert titles(await community.feed.hottest(PageRequest(""), 0)) == "a"

    assert seen == {window: ["a", ""] for window in AGES}
    clock.now += 400 * DAY_MS
    assert await community.score_decay.decay_due() == 0


async def test_an_old_draft_that_is_published_is_in_the_windows_at_once(
    community: CommunityService, fake_generations: FakeGenerations, clock: Clock
) -> None:
    draft = (await finished_draft(community, fake_generations)).artwork
    clock.now += 60 * DAY_MS
    await community.score_decay.decay_due()
    await community.artworks.publish(ANN, draft.id)

    assert [card.artwork.id for card in (await community.feed.hottest(PageRequest(""), HOUR_MS)).cards] == [draft.id]
    await community.score_decay.decay_due()
    assert [card.artwork.id for card in (await community.feed.hottest(PageRequest(""), HOUR_MS)).cards] == [draft.id]


async def test_states_are_given_in_the_order_asked_and_zeros_for_what_is_not_there(community: CommunityService) -> None:
    artwork_id = await liked(community, "a", 2)

    states = await community.feed.states("user0", ["art_none", artwork_id, artwork_id])

    assert [(each.like_count, each.liked) for each in states] == [(0, False), (2, True), (2, True)]
    assert not (await community.feed.states("", [artwork_id]))[0].liked


async def test_a_page_of_very_long_prompts_ends_early(community: CommunityService) -> None:
    for number in range(90):
        uri = f"https://elsewhere.example/{number}.png"
        await community.saving.save(ANN, Save("long", uri, prompt="猫" * 10_000, publish=True))
    page = await community.feed.newest(PageRequest("", 100))
    rest = await community.feed.newest(PageRequest("", 100, page.next_token))

    assert len(page.cards) < 90
    assert len(page.cards) + len(rest.cards) == 90


@pytest.mark.parametrize("token", ["x", "????", "é", "MTIz", "a" * 3000, "bmFuOnw="])
async def test_a_token_we_did_not_make_is_refused(community: CommunityService, token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await community.feed.newest(PageRequest("", 1, token))

    assert caught.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.usefixtures("five")
async def test_a_token_of_another_list_is_refused(community: CommunityService) -> None:
    token = (await community.feed.newest(PageRequest("", 1))).next_token

    for read in (
        community.feed.hottest(PageRequest("", 1, token)),
        community.feed.of_user(PageRequest("", 1, token), ANN),
        community.feed.of_shelf(PageRequest(BOB, 1, token), Shelf.LIKES, BOB),
    ):
        with pytest.raises(InvalidArgument):
            await read


@pytest.mark.parametrize(("size", "skip"), [(-1, 0), (1, -1), (1, 10_001)])
async def test_bad_bounds_are_refused(community: CommunityService, size: int, skip: int) -> None:
    with pytest.raises(InvalidArgument):
        await community.feed.hottest(PageRequest("", size, skip=skip))
