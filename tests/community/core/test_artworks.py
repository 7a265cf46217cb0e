"""What owners can do with artworks, and who else may know of them."""

import asyncio

import pytest
from sqlalchemy import Table, func, select, update

from services.chassis.database import Database
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from services.community.core.feed import Ask
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Card, OrderState, Reaction, Shelf, State
from services.community.stores.tables import artwork_like, discarded_object
from tests.community.equipment import START_MS, Clock
from tests.community.neighbours import OURS, Cupboard, Studio
from tests.community.people import ANN, BOB, drawn, everything, order_of, ordered, published


async def test_publishing_again_keeps_the_first_time(house: House, studio: Studio, clock: Clock) -> None:
    artwork_id = (await drawn(house, studio)).artwork.id
    times = []
    for change in (house.artworks.publish, house.artworks.publish, house.artworks.unpublish, house.artworks.publish):
        clock.now += 1000
        times.append((await change(ANN, artwork_id)).artwork.publish_ms)

    assert times == [START_MS + 1000] * 4
    assert (await house.artworks.get("", artwork_id)).artwork.state is State.PUBLISHED


async def test_what_has_no_picture_yet_cannot_be_published(house: House) -> None:
    card = await ordered(house)

    with pytest.raises(FailedPrecondition) as caught:
        await house.artworks.publish(ANN, card.artwork.id)

    assert caught.value.reason == "NOT_PUBLISHABLE"


async def test_everybody_and_every_state(house: House, studio: Studio) -> None:
    generating = (await ordered(house)).artwork.id
    draft = (await drawn(house, studio)).artwork.id
    shown = (await published(house)).artwork.id
    hidden = (await published(house, title="rude")).artwork.id
    await house.artworks.hide(hidden, hidden=True)

    seen = {
        viewer: [each for each in (generating, draft, shown, hidden) if await sees(house, viewer, each)]
        for viewer in ("", BOB, ANN)
    }

    assert seen == {"": [draft, shown], BOB: [draft, shown], ANN: [generating, draft, shown, hidden]}
    assert [card.artwork.id for card in (await house.feed.newest(Ask(BOB))).cards] == [shown]
    assert [card.artwork.id for card in (await house.feed.of_user(Ask(BOB), ANN)).cards] == [shown]
    assert {card.artwork.id for card in (await house.feed.of_user(Ask(ANN), ANN)).cards} == {draft, shown, hidden}


async def test_a_draft_opens_by_its_own_id_only_and_takes_nothing_from_others(house: House, studio: Studio) -> None:
    """A front end renders its pages without a token: whoever holds the id of a draft may look, and no more."""
    card = await drawn(house, studio)
    draft = card.artwork.id

    assert (await house.artworks.get(BOB, draft)).artwork.state is State.DRAFT

    for identifier in (draft, "gen_1", "task_gen_1"):
        with pytest.raises(NotFound):
            await house.artworks.find(BOB, identifier)
    for reaction in Reaction:
        with pytest.raises(NotFound):
            await house.reactions.react(BOB, draft, reaction, wanted=True)
    with pytest.raises(NotFound):
        await house.feed.hotness(BOB, draft)
    with pytest.raises(NotFound):
        await house.artworks.publish(BOB, draft)


async def test_a_draft_that_operators_hide_is_closed_to_others(house: House, studio: Studio) -> None:
    draft = (await drawn(house, studio)).artwork.id

    await house.artworks.hide(draft, hidden=True)

    assert not await sees(house, BOB, draft)
    assert await sees(house, ANN, draft)


async def test_works_that_failed_or_are_being_made_are_in_nobodys_list(house: House, studio: Studio) -> None:
    generating, failed = await ordered(house), await ordered(house)
    await house.follower.hear(studio.end(order_of(failed).generation_id, OrderState.FAILED))
    draft = await drawn(house, studio)
    assert (await house.artworks.get(ANN, failed.artwork.id)).artwork.state is State.FAILED

    listed = (await house.feed.of_user(Ask(ANN), ANN)).cards
    kept = [record async for record in house.people.export(ANN) if isinstance(record, Card)]

    assert [card.artwork.id for card in listed] == [draft.artwork.id]
    assert {card.artwork.id for card in kept} == {generating.artwork.id, failed.artwork.id, draft.artwork.id}


async def sees(house: House, viewer: str, artwork_id: str) -> bool:
    try:
        await house.artworks.get(viewer, artwork_id)
    except NotFound:
        return False
    return True


async def test_a_hidden_artwork_that_is_shown_again_is_as_it_was(house: House) -> None:
    artwork_id = (await published(house)).artwork.id
    await house.artworks.hide(artwork_id, hidden=True)
    await house.artworks.unpublish(ANN, artwork_id)
    await house.artworks.publish(ANN, artwork_id)
    assert not await sees(house, BOB, artwork_id)

    await house.artworks.hide(artwork_id, hidden=False)

    assert await sees(house, BOB, artwork_id)


@pytest.mark.parametrize("change", ["publish", "unpublish", "delete"])
async def test_only_the_owner_changes_an_artwork(house: House, studio: Studio, change: str) -> None:
    draft, shown = (await drawn(house, studio)).artwork.id, (await published(house)).artwork.id
    call = getattr(house.artworks, change)

    for viewer, artwork_id, error in (
        ("", shown, Unauthenticated),
        (BOB, shown, PermissionDenied),
        (BOB, draft, NotFound),
        (ANN, "art_none", NotFound),
    ):
        with pytest.raises(error):
            await call(viewer, artwork_id)


async def test_the_same_picture_saved_again_is_the_same_artwork(house: House) -> None:
    first = await house.saving.save(ANN, Save("One", "https://a.example/x.png"))
    second = await house.saving.save(ANN, Save("Two", "https://a.example/x.png", publish=True))
    other = await house.saving.save(BOB, Save("Three", "https://a.example/x.png"))

    assert second.artwork.id == first.artwork.id != other.artwork.id
    assert (second.artwork.title, second.artwork.state) == ("Two", State.PUBLISHED)
    assert second.artwork.object_key != other.artwork.object_key


async def test_one_picture_saved_many_times_at_once_is_one_artwork(house: House) -> None:
    saves = [house.saving.save(ANN, Save("One", "https://a.example/x.png")) for _ in range(6)]

    cards = await asyncio.gather(*saves)

    assert len({card.artwork.id for card in cards}) == 1


async def test_ones_own_generation_keeps_its_artwork_when_it_is_saved(house: House, studio: Studio) -> None:
    """The front end sends the picture of the task back as imageUrl."""
    card = await drawn(house, studio)
    uri = OURS + card.artwork.object_key

    saved = await house.saving.save(ANN, Save("Mine", uri, publish=True))

    assert (saved.artwork.id, saved.artwork.title, saved.artwork.state) == (card.artwork.id, "Mine", State.PUBLISHED)
    assert saved.artwork.slug.startswith("mine-")
    again = await house.saving.save(ANN, Save("Other", uri, publish=True))
    assert (again.artwork.title, again.artwork.slug) == ("Other", saved.artwork.slug)


async def test_nobody_takes_the_picture_of_somebody_else(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    with pytest.raises(PermissionDenied):
        await house.saving.save(BOB, Save("Mine", OURS + card.artwork.object_key))
    with pytest.raises(PermissionDenied):
        await house.saving.upload(BOB, card.artwork.object_key, "", draft=False)


async def test_a_picture_that_belongs_to_nobody_is_shown_but_not_removed(house: House, cupboard: Cupboard) -> None:
    """It was made without an account, and a share may show it."""
    save = Save("Found", OURS + "generated/gen_of_nobody/0.png")
    mine, theirs = await house.saving.save(ANN, save), await house.saving.save(BOB, save)

    await house.artworks.delete(ANN, mine.artwork.id)
    await house.sweeper.sweep()

    assert (mine.artwork.object_key, cupboard.deleted) == (theirs.artwork.object_key, [])


async def test_a_file_that_is_not_there_is_no_artwork(house: House) -> None:
    with pytest.raises(NotFound):
        await house.saving.save(ANN, Save("Nothing", OURS + "missing.png"))

    assert (await house.feed.of_user(Ask(ANN), ANN)).cards == ()


async def test_an_upload_is_a_draft_when_it_is_asked_to_be(house: House) -> None:
    assert await house.saving.upload(ANN, "artworks/original/a.png", "", draft=False) is None
    card = await house.saving.upload(ANN, "artworks/original/a.png", "", draft=True)
    again = await house.saving.upload(ANN, "artworks/original/a.png", "", draft=True)

    assert card
    assert again
    assert (card.artwork.state, card.artwork.title, card.artwork.id) == (State.DRAFT, "Untitled", again.artwork.id)
    assert (await house.artworks.publish(ANN, card.artwork.id)).artwork.state is State.PUBLISHED


async def test_a_deleted_artwork_takes_its_likes_and_its_bytes_along(
    house: House, database: Database, cupboard: Cupboard
) -> None:
    card = await published(house)
    await house.reactions.react(BOB, card.artwork.id, Reaction.LIKE, wanted=True)
    assert await rows_of(database, artwork_like) == 1

    await house.artworks.delete(ANN, card.artwork.id)
    await house.sweeper.sweep()

    assert not await sees(house, ANN, card.artwork.id)
    assert await rows_of(database, artwork_like) == 0
    assert (await house.feed.of_shelf(Ask(BOB), Shelf.LIKES, BOB)).cards == ()
    assert (cupboard.deleted, cupboard.holds(card.artwork.object_key)) == ([card.artwork.object_key], False)


async def rows_of(database: Database, table: Table) -> int:
    async with database.read() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


async def test_bytes_are_removed_once_storage_is_back(house: House, database: Database, cupboard: Cupboard) -> None:
    card = await published(house)
    await house.artworks.delete(ANN, card.artwork.id)
    cupboard.away = True
    assert (await house.sweeper.sweep(), cupboard.deleted) == (1, [])

    cupboard.away = False
    async with database.write() as connection:  # its lease runs out
        await connection.execute(update(discarded_object).values(due_ms=0))
    assert (await house.sweeper.sweep(), await house.sweeper.sweep()) == (1, 0)

    assert cupboard.deleted == [card.artwork.object_key]


@pytest.mark.parametrize(
    ("save", "field"),
    [
        (Save("", "https://a.example/x.png"), "title"),
        (Save("  ", "https://a.example/x.png"), "title"),
        (Save("x" * 201, "https://a.example/x.png"), "title"),
        (Save("a\0b", "https://a.example/x.png"), "title"),
        (Save("x", ""), "image_uri"),
        (Save("x", "ftp://a.example/x.png"), "image_uri"),
        (Save("x", "javascript:alert(1)"), "image_uri"),
        (Save("x", "https://a.example/" + "x" * 2048), "image_uri"),
        (Save("x", "https://a.example/x.png", prompt="x" * 10_001), "prompt"),
        (Save("x", "https://a.example/x.png", original_uri="data:image/png;base64,"), "original_uri"),
    ],
)
async def test_what_cannot_be_saved_says_why(house: House, save: Save, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await house.saving.save(ANN, save)

    assert caught.value.metadata["field"] == field
    assert (await house.feed.of_user(Ask(ANN), ANN)).cards == ()


@pytest.mark.parametrize(
    "uri",
    [
        "http://10.0.0.7/photo.png",
        "http://0x7f000001/photo.png",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/photo.png",
        "https://a.example:22/photo.png",
        "https://ann:secret@a.example/photo.png",
    ],
)
async def test_an_input_picture_that_is_not_public_is_refused_and_nothing_is_saved(
    house: House, cupboard: Cupboard, uri: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await house.saving.save(ANN, Save("x", "https://a.example/x.png", original_uri=uri))

    assert (caught.value.reason, caught.value.metadata["field"]) == ("URL_NOT_ALLOWED", "original_uri")
    assert (await everything(house), cupboard.kept) == ([], {})


async def test_an_input_picture_of_ours_or_of_the_public_is_kept_with_the_artwork(house: House) -> None:
    own = await house.saving.save(ANN, Save("x", "https://a.example/x.png", original_uri=f"{OURS}uploads/1-a.png"))
    other = await house.saving.save(ANN, Save("y", "https://a.example/y.png", original_uri="https://b.example/p.png"))

    assert own.artwork.image_refs == ("uploads/1-a.png",)
    assert other.artwork.image_refs == ("https://b.example/p.png",)


async def test_an_artwork_is_found_by_every_id_that_belongs_to_it(house: House, studio: Studio) -> None:
    card = await drawn(house, studio)

    for identifier in (card.artwork.id, "gen_1", "task_gen_1"):
        assert (await house.artworks.find(ANN, identifier)).artwork.id == card.artwork.id
        with pytest.raises(NotFound):
            await house.artworks.find(BOB, identifier)


@pytest.mark.parametrize("user_id", ["x" * 256, "a\nb", "a\0b"])
async def test_an_id_that_is_none_is_refused(house: House, user_id: str) -> None:
    with pytest.raises(InvalidArgument):
        await house.saving.save(user_id, Save("One", "https://a.example/x.png"))
