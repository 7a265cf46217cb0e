"""Users: their profile and privacy, their export and their erasure."""

import pytest

from services.chassis.errors import NotFound, Unauthenticated
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.core.saving import Save
from services.community.model import Card, Claims, Entry, OrderState, Reaction, Report, Shelf, User
from services.community.settings import CommunitySettings
from services.community.stores import Stores
from services.community.stores.tables import metadata
from tests.community.fakes import FakeGenerations, FakeObjects
from tests.community.steps import ANN, BOB, finished_draft, ordered, published
from tests.community.stubs import Clock
from tests.scripts import NAMES

CLAIMS = Claims("Ann", "ann@a.example", "https://a.example/ann.png")


async def test_what_a_token_leaves_out_stays(community: CommunityService) -> None:
    await community.users.ensure(ANN, CLAIMS)
    await community.users.ensure(ANN, Claims(display_name="Anna"))
    person = await community.users.ensure(ANN, Claims())

    assert (person.display_name, person.email, person.picture_uri) == ("Anna", "ann@a.example", CLAIMS.picture_uri)
    assert await community.users.get(ANN) == person


async def test_hostile_names_and_pictures_keep_nobody_out(community: CommunityService) -> None:
    person = await community.users.ensure(ANN, Claims("A\0nn\ud800 \n<b>" + "x" * 300, "", "javascript:alert(1)"))

    assert person.display_name.startswith("Ann <b>x")
    assert (len(person.display_name), person.picture_uri) == (len(person.display_name.strip()), "")


@pytest.mark.parametrize(
    "picture",
    [
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://169.254.169.254/latest/meta-data",
        "https://router.lan/a.png",
        "https://a.example:8443/a.png",
        "https://ann:secret@a.example/a.png",
    ],
)
async def test_an_avatar_that_is_not_public_is_left_out_and_keeps_nobody_out(
    community: CommunityService, picture: str
) -> None:
    person = await community.users.ensure(ANN, Claims("Ann", "", picture))

    assert (person.display_name, person.picture_uri) == ("Ann", "")


async def test_an_avatar_of_an_allowed_private_host_is_shown(settings: CommunitySettings, stores: Stores) -> None:
    allowed = settings.model_validate({**dict(settings), "outbound_allow_private": "127.0.0.1:9000"})
    community = CommunityService(allowed, stores, FakeGenerations(), FakeObjects(), Clock())

    person = await community.users.ensure(ANN, Claims("Ann", "", "http://127.0.0.1:9000/ann.png"))

    assert person.picture_uri == "http://127.0.0.1:9000/ann.png"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_names_and_titles_of_every_script_survive(community: CommunityService, name: str) -> None:
    person = await community.users.ensure(ANN, Claims(name))
    card = await community.saving.save(ANN, Save(name, "https://a.example/x.png", publish=True))

    assert (person.display_name, card.artwork.title) == (name, name)
    shown = await community.artworks.get("", card.artwork.id)
    assert (shown.author.display_name, shown.artwork.title) == (name, name)


async def test_privacy_changes_only_what_is_set(community: CommunityService) -> None:
    await community.users.ensure(ANN, CLAIMS)

    first = await community.users.privacy(ANN, hide_name=True, hide_email=None)
    second = await community.users.privacy(ANN, hide_name=None, hide_email=False)

    assert (first.hide_name, first.hide_email) == (True, True)
    assert (second.hide_name, second.hide_email) == (True, False)
    with pytest.raises(NotFound):
        await community.users.privacy(BOB, hide_name=True, hide_email=None)
    with pytest.raises(Unauthenticated):
        await community.users.privacy("", hide_name=True, hide_email=None)


async def lived(community: CommunityService, fake_generations: FakeGenerations) -> tuple[str, str]:
    """Ann has done everything once; her artwork and Bob's."""
    await community.users.ensure(ANN, CLAIMS)
    mine, other = (
        (await finished_draft(community, fake_generations)).artwork.id,
        (await published(community, BOB)).artwork.id,
    )
    await community.artworks.publish(ANN, mine)
    for kind in Reaction:
        await community.reactions.react(ANN, other, kind, wanted=True)
        await community.reactions.react(BOB, mine, kind, wanted=True)
    await community.reactions.report(ANN, other, "rude")
    await community.saving.upload(ANN, "uploads/1-a.png", "", draft=False)
    return mine, other


async def test_an_export_holds_everything(community: CommunityService, fake_generations: FakeGenerations) -> None:
    mine, other = await lived(community, fake_generations)

    records = [record async for record in community.users.export(ANN)]

    assert isinstance(records[0], User)
    assert [record.artwork.id for record in records if isinstance(record, Card)] == [mine]
    reactions = [(each[0], each[1].card.artwork.id) for each in records if isinstance(each, tuple)]
    assert reactions == [(Shelf.LIKES, other), (Shelf.FAVORITES, other)]
    assert [record for record in records if isinstance(record, str)] == ["generated/gen_1/0.png", "uploads/1-a.png"]
    assert len([record for record in records if isinstance(record, Entry)]) == 3
    assert [record.reason for record in records if isinstance(record, Report)] == ["rude"]


async def test_an_erased_person_leaves_nothing_but_a_receipt(
    community: CommunityService, fake_generations: FakeGenerations, stores: Stores, fake_objects: FakeObjects
) -> None:
    _, other = await lived(community, fake_generations)
    await ordered(community)

    receipt = await community.users.erase(ANN)
    assert receipt.object_count == 2
    assert (await community.users.erasure(receipt.id)).remaining_count == 4  # and the words of two orders
    fake_generations.end("gen_2", OrderState.FAILED)
    await community.deletion_worker.delete_due()

    assert (receipt.artwork_count, receipt.like_count, receipt.favorite_count) == (2, 1, 1)
    assert (await community.users.erasure(receipt.id)).remaining_count == 0
    assert sorted(fake_objects.deleted) == ["generated/gen_1/0.png", "uploads/1-a.png"]
    assert sorted(fake_generations.forgotten) == ["gen_1", "gen_2"]
    assert ANN not in await everything(stores)
    assert (await community.artworks.get("", other)).artwork.like_count == 0
    assert (await community.feed.of_shelf(PageRequest(BOB), Shelf.LIKES, BOB)).cards == ()
    assert (await community.admin_operations.reconcile(mend=False)).amount == 0
    with pytest.raises(NotFound):
        await community.users.get(ANN)


async def everything(stores: Stores) -> str:
    """All that is in the database, as text."""
    tables = [table.select() for table in metadata.sorted_tables]
    return str(await stores.database.read(lambda each: [each.execute(table).all() for table in tables]))


@pytest.mark.parametrize("state", [OrderState.SUCCEEDED, OrderState.FAILED])
async def test_a_picture_that_comes_after_its_person_has_left_is_removed(
    community: CommunityService,
    fake_generations: FakeGenerations,
    stores: Stores,
    fake_objects: FakeObjects,
    state: OrderState,
) -> None:
    await ordered(community)
    await community.users.erase(ANN)

    await community.event_consumer.consume(fake_generations.end("gen_1", state))
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == (["generated/gen_1/0.png"] if state is OrderState.SUCCEEDED else [])
    assert ANN not in await everything(stores)


async def test_words_that_are_still_needed_are_forgotten_later(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    await ordered(community)

    receipt = await community.users.erase(ANN)
    await community.deletion_worker.delete_due()

    assert fake_generations.forgotten == []
    assert (await community.users.erasure(receipt.id)).remaining_count == 1


async def test_a_person_who_comes_back_begins_anew(
    community: CommunityService, fake_generations: FakeGenerations, clock: Clock
) -> None:
    await lived(community, fake_generations)
    first, second = await community.users.erase(ANN), await community.users.erase(ANN)

    assert (first.artwork_count, second.artwork_count) == (1, 0)
    assert (await community.users.ensure(ANN, Claims("Ann"), clock.now + 1000)).email == ""
    assert (await community.feed.of_user(PageRequest(ANN), ANN)).cards == ()


async def test_hidden_favourites_of_others_are_left_out(
    community: CommunityService, fake_generations: FakeGenerations
) -> None:
    mine, _ = await lived(community, fake_generations)
    await community.artworks.unpublish(ANN, mine)

    assert (await community.feed.of_shelf(PageRequest(BOB), Shelf.FAVORITES, BOB)).cards == ()
    assert len((await community.feed.of_shelf(PageRequest(ANN), Shelf.FAVORITES, BOB)).cards) == 1
    with pytest.raises(Unauthenticated):
        await community.feed.of_shelf(PageRequest(""), Shelf.FAVORITES, BOB)
