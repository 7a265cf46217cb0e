"""What owners can do with artworks, and who else may know of them."""

import asyncio

import pytest
from sqlalchemy import Table, func, select, update

from services.chassis.database import Database
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from services.chassis.names import new_id
from services.community.composition import CommunityService
from services.community.core.artworks import slug_of, title_of
from services.community.core.feed import PageRequest
from services.community.core.saving import Save
from services.community.model import Card, OrderState, Reaction, Shelf, State
from services.community.stores.tables import artwork_like, discarded_object
from tests.community.fakes import OURS, FakeGenerations, FakeObjects
from tests.community.steps import ANN, BOB, all_artworks, finished_draft, order_of, ordered, published
from tests.community.stubs import START_MS, Clock

TAIL = "art_01jxv3k8q4abcdefghjkmnpqrs"


async def test_publishing_again_keeps_the_first_time(
    community: CommunityService, fake_generations: FakeGenerations, clock: Clock
) -> None:
    artwork_id = (await finished_draft(community, fake_generations)).artwork.id
    times = []
    for change in (
        community.artworks.publish,
        community.artworks.publish,
        community.artworks.unpublish,
        community.artworks.publish,
    ):
        clock.now += 1000
        times.append((await change(ANN, artwork_id)).artwork.publish_ms)

    assert times == [START_MS + 1000] * 4
    assert (await community.artworks.get("", artwork_id)).artwork.state is State.PUBLISHED


async def test_what_has_no_picture_yet_cannot_be_published(community: CommunityService) -> None:
    card = await ordered(community)

    with pytest.raises(FailedPrecondition) as caught:
        await community.artworks.publish(ANN, card.artwork.id)

    assert caught.value.reason == "NOT_PUBLISHABLE"


async def test_everybody_and_every_state(community: CommunityService, fake_generations: FakeGenerations) -> None:
    generating = (await ordered(community)).artwork.id
    draft = (await finished_draft(community, fake_generations)).artwork.id
    shown = (await published(community)).artwork.id
    hidden = (await published(community, title="rude")).artwork.id
    await community.artworks.hide(hidden, hidden=True)

    seen = {
        viewer: [each for each in (generating, draft, shown, hidden) if await sees(community, viewer, each)]
        for viewer in ("", BOB, ANN)
    }

    assert seen == {"": [draft, shown], BOB: [draft, shown], ANN: [generating, draft, shown, hidden]}
    assert [card.artwork.id for card in (await community.feed.newest(PageRequest(BOB))).cards] == [shown]
    assert [card.artwork.id for card in (await community.feed.of_user(PageRequest(BOB), ANN)).cards] == [shown]
    assert {card.artwork.id for card in (await community.feed.of_user(PageRequest(ANN), ANN)).cards} == {
        draft,
        shown,
        hidden,
    }


async def test_a_draft_opens_by_its_own_id_only_and_takes_nothing_from_others(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    """A front end renders its pages without a token: whoever holds the id of a draft may look, and no more."""
    card = await finished_draft(community, fake_generations)
    draft = card.artwork.id

    assert (await community.artworks.get(BOB, draft)).artwork.state is State.DRAFT

    for identifier in (draft, "gen_1", "task_gen_1"):
        with pytest.raises(NotFound):
            await community.artworks.find(BOB, identifier)
    for reaction in Reaction:
        with pytest.raises(NotFound):
            await community.reactions.react(BOB, draft, reaction, wanted=True)
    with pytest.raises(NotFound):
        await community.feed.hotness(BOB, draft)
    with pytest.raises(NotFound):
        await community.artworks.publish(BOB, draft)


async def test_a_draft_that_operators_hide_is_closed_to_others(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    draft = (await finished_draft(community, fake_generations)).artwork.id

    await community.artworks.hide(draft, hidden=True)

    assert not await sees(community, BOB, draft)
    assert await sees(community, ANN, draft)


async def test_artworks_that_failed_or_are_being_made_are_in_no_list(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    generating, failed = await ordered(community), await ordered(community)
    await community.event_consumer.consume(fake_generations.end(order_of(failed).generation_id, OrderState.FAILED))
    draft = await finished_draft(community, fake_generations)
    assert (await community.artworks.get(ANN, failed.artwork.id)).artwork.state is State.FAILED

    listed = (await community.feed.of_user(PageRequest(ANN), ANN)).cards
    kept = [record async for record in community.users.export(ANN) if isinstance(record, Card)]

    assert [card.artwork.id for card in listed] == [draft.artwork.id]
    assert {card.artwork.id for card in kept} == {generating.artwork.id, failed.artwork.id, draft.artwork.id}


async def sees(community: CommunityService, viewer: str, artwork_id: str) -> bool:
    try:
        await community.artworks.get(viewer, artwork_id)
    except NotFound:
        return False
    return True


async def test_a_hidden_artwork_that_is_shown_again_is_as_it_was(community: CommunityService) -> None:
    artwork_id = (await published(community)).artwork.id
    await community.artworks.hide(artwork_id, hidden=True)
    await community.artworks.unpublish(ANN, artwork_id)
    await community.artworks.publish(ANN, artwork_id)
    assert not await sees(community, BOB, artwork_id)

    await community.artworks.hide(artwork_id, hidden=False)

    assert await sees(community, BOB, artwork_id)


@pytest.mark.parametrize("change", ["publish", "unpublish", "delete"])
async def test_only_the_owner_changes_an_artwork(
    community: CommunityService, fake_generations: FakeGenerations, change: str
) -> None:
    draft, shown = (
        (await finished_draft(community, fake_generations)).artwork.id,
        (await published(community)).artwork.id,
    )
    call = getattr(community.artworks, change)

    for viewer, artwork_id, error in (
        ("", shown, Unauthenticated),
        (BOB, shown, PermissionDenied),
        (BOB, draft, NotFound),
        (ANN, "art_none", NotFound),
    ):
        with pytest.raises(error):
            await call(viewer, artwork_id)


async def test_the_same_picture_saved_again_is_the_same_artwork(community: CommunityService) -> None:
    first = await community.saving.save(ANN, Save("One", "https://a.example/x.png"))
    second = await community.saving.save(ANN, Save("Two", "https://a.example/x.png", publish=True))
    other = await community.saving.save(BOB, Save("Three", "https://a.example/x.png"))

    assert second.artwork.id == first.artwork.id != other.artwork.id
    assert (second.artwork.title, second.artwork.state) == ("Two", State.PUBLISHED)
    assert second.artwork.object_key != other.artwork.object_key


async def test_one_picture_saved_many_times_at_once_is_one_artwork(community: CommunityService) -> None:
    saves = [community.saving.save(ANN, Save("One", "https://a.example/x.png")) for _ in range(6)]

    cards = await asyncio.gather(*saves)

    assert len({card.artwork.id for card in cards}) == 1


async def test_ones_own_generation_keeps_its_artwork_when_it_is_saved(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    """The front end sends the picture of the task back as imageUrl."""
    card = await finished_draft(community, fake_generations)
    uri = OURS + card.artwork.object_key

    saved = await community.saving.save(ANN, Save("Mine", uri, publish=True))

    assert (saved.artwork.id, saved.artwork.title, saved.artwork.state) == (card.artwork.id, "Mine", State.PUBLISHED)
    assert saved.artwork.slug.startswith("mine-")
    again = await community.saving.save(ANN, Save("Other", uri, publish=True))
    assert (again.artwork.title, again.artwork.slug) == ("Other", saved.artwork.slug)


async def test_nobody_takes_the_picture_of_somebody_else(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    with pytest.raises(PermissionDenied):
        await community.saving.save(BOB, Save("Mine", OURS + card.artwork.object_key))
    with pytest.raises(PermissionDenied):
        await community.saving.upload(BOB, card.artwork.object_key, "", draft=False)


async def test_a_picture_that_belongs_to_nobody_is_shown_but_not_removed(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    """It was made without an account, and a share may show it."""
    save = Save("Found", OURS + "generated/gen_of_nobody/0.png")
    mine, theirs = await community.saving.save(ANN, save), await community.saving.save(BOB, save)

    await community.artworks.delete(ANN, mine.artwork.id)
    await community.deletion_worker.delete_due()

    assert (mine.artwork.object_key, fake_objects.deleted) == (theirs.artwork.object_key, [])


async def test_a_file_that_is_not_there_is_no_artwork(community: CommunityService) -> None:
    with pytest.raises(NotFound):
        await community.saving.save(ANN, Save("Nothing", OURS + "missing.png"))

    assert (await community.feed.of_user(PageRequest(ANN), ANN)).cards == ()


async def test_an_upload_is_a_draft_when_it_is_asked_to_be(community: CommunityService) -> None:
    assert await community.saving.upload(ANN, "artworks/original/a.png", "", draft=False) is None
    card = await community.saving.upload(ANN, "artworks/original/a.png", "", draft=True)
    again = await community.saving.upload(ANN, "artworks/original/a.png", "", draft=True)

    assert card
    assert again
    assert (card.artwork.state, card.artwork.title, card.artwork.id) == (State.DRAFT, "Untitled", again.artwork.id)
    assert (await community.artworks.publish(ANN, card.artwork.id)).artwork.state is State.PUBLISHED


async def test_a_deleted_artwork_takes_its_likes_and_its_bytes_along(
    community: CommunityService, database: Database, fake_objects: FakeObjects
) -> None:
    card = await published(community)
    await community.reactions.react(BOB, card.artwork.id, Reaction.LIKE, wanted=True)
    assert await rows_of(database, artwork_like) == 1

    await community.artworks.delete(ANN, card.artwork.id)
    await community.deletion_worker.delete_due()

    assert not await sees(community, ANN, card.artwork.id)
    assert await rows_of(database, artwork_like) == 0
    assert (await community.feed.of_shelf(PageRequest(BOB), Shelf.LIKES, BOB)).cards == ()
    assert (fake_objects.deleted, fake_objects.holds(card.artwork.object_key)) == ([card.artwork.object_key], False)


async def rows_of(database: Database, table: Table) -> int:
    count = select(func.count()).select_from(table)
    return await database.read(lambda transaction: transaction.scalar(count)) or 0


async def test_bytes_are_removed_once_storage_is_back(
    community: CommunityService, database: Database, fake_objects: FakeObjects
) -> None:
    card = await published(community)
    await community.artworks.delete(ANN, card.artwork.id)
    fake_objects.away = True
    assert (await community.deletion_worker.delete_due(), fake_objects.deleted) == (1, [])

    fake_objects.away = False
    due = update(discarded_object).values(due_ms=0)  # its lease runs out
    await database.write(lambda transaction: transaction.execute(due))
    assert (await community.deletion_worker.delete_due(), await community.deletion_worker.delete_due()) == (1, 0)

    assert fake_objects.deleted == [card.artwork.object_key]


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
async def test_what_cannot_be_saved_says_why(community: CommunityService, save: Save, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await community.saving.save(ANN, save)

    assert caught.value.metadata["field"] == field
    assert (await community.feed.of_user(PageRequest(ANN), ANN)).cards == ()


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
    community: CommunityService, fake_objects: FakeObjects, uri: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await community.saving.save(ANN, Save("x", "https://a.example/x.png", original_uri=uri))

    assert (caught.value.reason, caught.value.metadata["field"]) == ("URL_NOT_ALLOWED", "original_uri")
    assert (await all_artworks(community), fake_objects.kept) == ([], {})


async def test_an_input_picture_of_ours_or_of_the_public_is_kept_with_the_artwork(community: CommunityService) -> None:
    own = await community.saving.save(ANN, Save("x", "https://a.example/x.png", original_uri=f"{OURS}uploads/1-a.png"))
    other = await community.saving.save(
        ANN, Save("y", "https://a.example/y.png", original_uri="https://b.example/p.png")
    )

    assert own.artwork.image_refs == ("uploads/1-a.png",)
    assert other.artwork.image_refs == ("https://b.example/p.png",)


async def test_an_artwork_is_found_by_every_id_that_belongs_to_it(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    card = await finished_draft(community, fake_generations)

    for identifier in (card.artwork.id, "gen_1", "task_gen_1"):
        assert (await community.artworks.find(ANN, identifier)).artwork.id == card.artwork.id
        with pytest.raises(NotFound):
            await community.artworks.find(BOB, identifier)


@pytest.mark.parametrize("user_id", ["x" * 256, "a\nb", "a\0b"])
async def test_an_id_that_is_none_is_refused(community: CommunityService, user_id: str) -> None:
    with pytest.raises(InvalidArgument):
        await community.saving.save(user_id, Save("One", "https://a.example/x.png"))


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("A Cat, in the rain!", "a-cat-in-the-rain"),
        ("雨の中の猫", "雨の中の猫"),
        ("Кот под дождём", "кот-под-дождём"),
        ("हिन्दी में बिल्ली", "हिन्दी-में-बिल्ली"),
        ("แมวน้อย น่ารัก", "แมวน้อย-น่ารัก"),
        ("--x--", "x"),
        ("\uff26\uff55\uff4c\uff4c width", "full-width"),
        ("<script>alert(1)</script>/../", "script-alert-1-script"),
    ],
)
def test_a_slug_keeps_letters_of_any_script(title: str, slug: str) -> None:
    assert slug_of(title, TAIL) == f"{slug}-ghjkmnpqrs"


@pytest.mark.parametrize("title", ["", "!!!", "💫", "___"])
def test_a_title_of_signs_has_the_id_for_a_slug(title: str) -> None:
    assert slug_of(title, TAIL) == TAIL


def test_two_artworks_of_one_title_have_two_slugs() -> None:
    assert slug_of("cat", new_id("art")) != slug_of("cat", new_id("art"))


def test_a_title_is_one_line_and_never_empty() -> None:
    assert title_of(" a \n b ", "") == "a b"
    assert title_of("", "c" * 80) == "c" * 50
    assert title_of(" ", "") == "Untitled"
    assert title_of("cat\u202egnp", "") == "catgnp"
