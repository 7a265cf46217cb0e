"""What people browse: the right artworks, in the right order, each once, page by page."""

import pytest

from services.chassis.errors import InvalidArgument, NotFound
from services.community.core.feed import Ask
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Page, Reaction, Shelf
from services.community.model.hotness import AGES, DAY_MS, HOUR_MS, Category
from tests.community.equipment import START_MS, Clock
from tests.community.neighbours import Studio
from tests.community.people import ANN, BOB, drawn, published


def titles(page: Page) -> str:
    return "".join(card.artwork.title for card in page.cards)


async def liked(house: House, title: str, likes: int) -> str:
    artwork_id = (await published(house, title=title)).artwork.id
    for number in range(likes):
        await house.reactions.react(f"user{number}", artwork_id, Reaction.LIKE, wanted=True)
    return artwork_id


@pytest.fixture
async def five(house: House, clock: Clock) -> None:
    """Five artworks, an hour between them: a is the oldest and has most likes, e is the newest and has none."""
    for number, title in enumerate("abcde"):
        await liked(house, title, 4 - number)
        clock.now += HOUR_MS
    await house.thermostat.cool()


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_pages_show_each_artwork_once(house: House, size: int) -> None:
    seen, token = "", ""
    while True:
        page = await house.feed.newest(Ask("", size, token))
        seen, token = seen + titles(page), page.next_token
        if not token:
            break

    assert seen == "edcba"


@pytest.mark.usefixtures("five")
async def test_what_is_published_while_somebody_reads_moves_nothing(house: House) -> None:
    first = await house.feed.newest(Ask("", 2))
    await published(house, title="f")

    assert titles(first) + titles(await house.feed.newest(Ask("", 9, first.next_token))) == "edcba"
    assert titles(await house.feed.newest(Ask("", 1))) == "f"


@pytest.mark.usefixtures("five")
async def test_the_hottest_come_first_and_the_page_goes_on(house: House) -> None:
    first = await house.feed.hottest(Ask("", 2))

    assert titles(first) + titles(await house.feed.hottest(Ask("", 9, first.next_token))) == "abcde"
    assert titles(await house.feed.hottest(Ask("", 2, skip=3))) == "de"


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize(("window", "shown"), [(HOUR_MS, "e"), (3 * HOUR_MS, "cde"), (DAY_MS, "abcde"), (0, "abcde")])
async def test_a_window_shows_what_was_published_in_it(house: House, window: int, shown: str) -> None:
    assert titles(await house.feed.hottest(Ask(""), window)) == shown


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("window", [3 * HOUR_MS, DAY_MS, 7 * DAY_MS])
async def test_a_window_goes_on_page_by_page(house: House, window: int) -> None:
    seen, token = "", ""
    while True:
        page = await house.feed.hottest(Ask("", 1, token), window)
        seen, token = seen + titles(page), page.next_token
        if not token:
            break

    assert seen == titles(await house.feed.hottest(Ask(""), window))


async def test_a_category_shows_what_has_reached_its_score(house: House) -> None:
    for title, likes in (("a", 51), ("b", 21), ("c", 19)):
        await liked(house, title, likes)

    assert titles(await house.feed.hottest(Ask(""), 0, Category.HOT)) == "a"
    assert titles(await house.feed.hottest(Ask(""), 0, Category.RISING)) == "ab"
    assert titles(await house.feed.hottest(Ask(""), 0, Category.VIRAL)) == ""
    assert titles(await house.feed.hottest(Ask(""))) == "abc"


async def test_age_overtakes_likes(house: House, clock: Clock) -> None:
    await liked(house, "old", 3)
    clock.now = START_MS + 2 * DAY_MS
    await liked(house, "new", 1)

    assert await house.thermostat.cool() == 1  # the new one is not due
    assert titles(await house.feed.hottest(Ask(""))) == "newold"
    assert await house.thermostat.cool() == 0


async def test_hotness_tells_score_and_place(house: House) -> None:
    first, second, third = await liked(house, "a", 3), await liked(house, "b", 1), await liked(house, "c", 0)

    found = [await house.feed.hotness("", each) for each in (first, second, third)]

    assert [(each.rank, each.card.artwork.hot_score, each.decay) for each in found] == [(1, 3, 1), (2, 1, 1), (0, 0, 1)]
    with pytest.raises(NotFound):
        await house.feed.hotness("", "art_none")


async def test_many_are_as_hot_at_once_as_each_alone(house: House, studio: Studio) -> None:
    ids = [await liked(house, title, likes) for title, likes in (("a", 3), ("b", 1), ("c", 1), ("d", 0))]
    draft = (await drawn(house, studio)).artwork.id

    asked = ["art_none", *ids[::-1], ids[0], draft]
    alone = [await house.feed.hotness(ANN, each) for each in (*ids[::-1], draft)]

    assert await house.feed.hotnesses(ANN, asked) == tuple(alone)
    assert [each.rank for each in alone] == [0, 2, 2, 1, 0]
    assert len(await house.feed.hotnesses(BOB, asked)) == 4  # without Ann's draft
    with pytest.raises(InvalidArgument):
        await house.feed.hotnesses("", ["art_1"] * 201)


async def test_a_window_shows_nothing_older_however_it_is_liked(house: House, clock: Clock) -> None:
    await liked(house, "old", 60)
    clock.now += 8 * DAY_MS
    for title, likes in (("a", 51), ("b", 21), ("c", 1), ("d", 0)):
        await liked(house, title, likes)

    for cooled in (False, True):  # before and after the thermostat has seen what became old
        if cooled:
            await house.thermostat.cool()
        assert titles(await house.feed.hottest(Ask(""), 7 * DAY_MS, Category.ALL)) == "abcd"
        assert titles(await house.feed.hottest(Ask(""), 7 * DAY_MS, Category.RISING)) == "ab"
        assert titles(await house.feed.hottest(Ask(""), HOUR_MS, Category.HOT)) == "a"
        assert set(titles(await house.feed.hottest(Ask(""), 30 * DAY_MS))) == set("oldabcd")


async def test_an_artwork_leaves_each_window_at_its_end_and_the_thermostat_rests(house: House, clock: Clock) -> None:
    await liked(house, "a", 0)
    born, seen = clock.now, dict[int, list[str]]()
    for window in AGES:
        for late in (0, 1):
            clock.now = born + window + late
            seen.setdefault(window, []).append(titles(await house.feed.hottest(Ask(""), window)))
        assert [await house.thermostat.cool(), await house.thermostat.cool()] == [1, 0]
        assert titles(await house.feed.hottest(Ask(""), 0)) == "a"

    assert seen == {window: ["a", ""] for window in AGES}
    clock.now += 400 * DAY_MS
    assert await house.thermostat.cool() == 0


async def test_an_old_draft_that_is_published_is_in_the_windows_at_once(
    house: House, studio: Studio, clock: Clock
) -> None:
    draft = (await drawn(house, studio)).artwork
    clock.now += 60 * DAY_MS
    await house.thermostat.cool()
    await house.artworks.publish(ANN, draft.id)

    assert [card.artwork.id for card in (await house.feed.hottest(Ask(""), HOUR_MS)).cards] == [draft.id]
    await house.thermostat.cool()
    assert [card.artwork.id for card in (await house.feed.hottest(Ask(""), HOUR_MS)).cards] == [draft.id]


async def test_states_are_given_in_the_order_asked_and_zeros_for_what_is_not_there(house: House) -> None:
    artwork_id = await liked(house, "a", 2)

    states = await house.feed.states("user0", ["art_none", artwork_id, artwork_id])

    assert [(each.like_count, each.liked) for each in states] == [(0, False), (2, True), (2, True)]
    assert not (await house.feed.states("", [artwork_id]))[0].liked


async def test_a_page_of_very_long_prompts_ends_early(house: House) -> None:
    for number in range(90):
        uri = f"https://elsewhere.example/{number}.png"
        await house.saving.save(ANN, Save("long", uri, prompt="猫" * 10_000, publish=True))
    page = await house.feed.newest(Ask("", 100))
    rest = await house.feed.newest(Ask("", 100, page.next_token))

    assert len(page.cards) < 90
    assert len(page.cards) + len(rest.cards) == 90


@pytest.mark.parametrize("token", ["x", "????", "é", "MTIz", "a" * 3000, "bmFuOnw="])
async def test_a_token_we_did_not_make_is_refused(house: House, token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await house.feed.newest(Ask("", 1, token))

    assert caught.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.usefixtures("five")
async def test_a_token_of_another_list_is_refused(house: House) -> None:
    token = (await house.feed.newest(Ask("", 1))).next_token

    for read in (
        house.feed.hottest(Ask("", 1, token)),
        house.feed.of_user(Ask("", 1, token), ANN),
        house.feed.of_shelf(Ask(BOB, 1, token), Shelf.LIKES, BOB),
    ):
        with pytest.raises(InvalidArgument):
            await read


@pytest.mark.parametrize(("size", "skip"), [(-1, 0), (1, -1), (1, 10_001)])
async def test_bad_bounds_are_refused(house: House, size: int, skip: int) -> None:
    with pytest.raises(InvalidArgument):
        await house.feed.hottest(Ask("", size, skip=skip))
