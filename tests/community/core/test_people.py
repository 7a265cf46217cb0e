"""People: never blanked, hidden as they wish, exported whole and erased without a trace."""

import pytest

from services.chassis.errors import NotFound, Unauthenticated
from services.community.core.feed import Ask
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Card, Claims, Entry, OrderState, Person, Reaction, Report, Shelf
from services.community.settings import CommunitySettings
from services.community.stores import Stores
from services.community.stores.tables import metadata
from tests.community.equipment import Clock
from tests.community.neighbours import Cupboard, Studio
from tests.community.people import ANN, BOB, drawn, ordered, published
from tests.scripts import NAMES

CLAIMS = Claims("Ann", "ann@a.example", "https://a.example/ann.png")


async def test_what_a_token_leaves_out_stays(house: House) -> None:
    await house.people.ensure(ANN, CLAIMS)
    await house.people.ensure(ANN, Claims(display_name="Anna"))
    person = await house.people.ensure(ANN, Claims())

    assert (person.display_name, person.email, person.picture_uri) == ("Anna", "ann@a.example", CLAIMS.picture_uri)
    assert await house.people.get(ANN) == person


async def test_hostile_names_and_pictures_keep_nobody_out(house: House) -> None:
    person = await house.people.ensure(ANN, Claims("A\0nn\ud800 \n<b>" + "x" * 300, "", "javascript:alert(1)"))

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
async def test_an_avatar_that_is_not_public_is_left_out_and_keeps_nobody_out(house: House, picture: str) -> None:
    person = await house.people.ensure(ANN, Claims("Ann", "", picture))

    assert (person.display_name, person.picture_uri) == ("Ann", "")


async def test_an_avatar_of_an_allowed_private_host_is_shown(settings: CommunitySettings, stores: Stores) -> None:
    allowed = settings.model_validate({**dict(settings), "outbound_allow_private": "127.0.0.1:9000"})
    house = House(allowed, stores, Studio(), Cupboard(), Clock())

    person = await house.people.ensure(ANN, Claims("Ann", "", "http://127.0.0.1:9000/ann.png"))

    assert person.picture_uri == "http://127.0.0.1:9000/ann.png"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_names_and_titles_of_every_script_survive(house: House, name: str) -> None:
    person = await house.people.ensure(ANN, Claims(name))
    card = await house.saving.save(ANN, Save(name, "https://a.example/x.png", publish=True))

    assert (person.display_name, card.artwork.title) == (name, name)
    shown = await house.artworks.get("", card.artwork.id)
    assert (shown.author.display_name, shown.artwork.title) == (name, name)


async def test_privacy_changes_only_what_is_set(house: House) -> None:
    await house.people.ensure(ANN, CLAIMS)

    first = await house.people.privacy(ANN, hide_name=True, hide_email=None)
    second = await house.people.privacy(ANN, hide_name=None, hide_email=False)

    assert (first.hide_name, first.hide_email) == (True, True)
    assert (second.hide_name, second.hide_email) == (True, False)
    with pytest.raises(NotFound):
        await house.people.privacy(BOB, hide_name=True, hide_email=None)
    with pytest.raises(Unauthenticated):
        await house.people.privacy("", hide_name=True, hide_email=None)


async def lived(house: House, studio: Studio) -> tuple[str, str]:
    """Ann has done everything once; her artwork and Bob's."""
    await house.people.ensure(ANN, CLAIMS)
    mine, other = (await drawn(house, studio)).artwork.id, (await published(house, BOB)).artwork.id
    await house.artworks.publish(ANN, mine)
    for kind in Reaction:
        await house.reactions.react(ANN, other, kind, wanted=True)
        await house.reactions.react(BOB, mine, kind, wanted=True)
    await house.reactions.report(ANN, other, "rude")
    await house.saving.upload(ANN, "uploads/1-a.png", "", draft=False)
    return mine, other


async def test_an_export_holds_everything(house: House, studio: Studio) -> None:
    mine, other = await lived(house, studio)

    records = [record async for record in house.people.export(ANN)]

    assert isinstance(records[0], Person)
    assert [record.artwork.id for record in records if isinstance(record, Card)] == [mine]
    reactions = [(each[0], each[1].card.artwork.id) for each in records if isinstance(each, tuple)]
    assert reactions == [(Shelf.LIKES, other), (Shelf.FAVORITES, other)]
    assert [record for record in records if isinstance(record, str)] == ["generated/gen_1/0.png", "uploads/1-a.png"]
    assert len([record for record in records if isinstance(record, Entry)]) == 3
    assert [record.reason for record in records if isinstance(record, Report)] == ["rude"]


async def test_an_erased_person_leaves_nothing_but_a_receipt(
    house: House, studio: Studio, stores: Stores, cupboard: Cupboard
) -> None:
    _, other = await lived(house, studio)
    await ordered(house)

    receipt = await house.people.erase(ANN)
    assert receipt.object_count == 2
    assert (await house.people.erasure(receipt.id)).remaining_count == 4  # and the words of two orders
    studio.end("gen_2", OrderState.FAILED)
    await house.sweeper.sweep()

    assert (receipt.artwork_count, receipt.like_count, receipt.favorite_count) == (2, 1, 1)
    assert (await house.people.erasure(receipt.id)).remaining_count == 0
    assert sorted(cupboard.deleted) == ["generated/gen_1/0.png", "uploads/1-a.png"]
    assert sorted(studio.forgotten) == ["gen_1", "gen_2"]
    assert ANN not in await everything(stores)
    assert (await house.artworks.get("", other)).artwork.like_count == 0
    assert (await house.feed.of_shelf(Ask(BOB), Shelf.LIKES, BOB)).cards == ()
    assert (await house.office.reconcile(mend=False)).amount == 0
    with pytest.raises(NotFound):
        await house.people.get(ANN)


async def everything(stores: Stores) -> str:
    """All that is in the database, as text."""
    async with stores.works._database.read() as connection:
        rows = [(await connection.execute(table.select())).all() for table in metadata.sorted_tables]
    return str(rows)


@pytest.mark.parametrize("state", [OrderState.SUCCEEDED, OrderState.FAILED])
async def test_a_picture_that_comes_after_its_person_has_left_is_removed(
    house: House, studio: Studio, stores: Stores, cupboard: Cupboard, state: OrderState
) -> None:
    await ordered(house)
    await house.people.erase(ANN)

    await house.follower.hear(studio.end("gen_1", state))
    await house.sweeper.sweep()

    assert cupboard.deleted == (["generated/gen_1/0.png"] if state is OrderState.SUCCEEDED else [])
    assert ANN not in await everything(stores)


async def test_words_that_are_still_needed_are_forgotten_later(house: House, studio: Studio) -> None:
    await ordered(house)

    receipt = await house.people.erase(ANN)
    await house.sweeper.sweep()

    assert studio.forgotten == []
    assert (await house.people.erasure(receipt.id)).remaining_count == 1


async def test_a_person_who_comes_back_begins_anew(house: House, studio: Studio, clock: Clock) -> None:
    await lived(house, studio)
    first, second = await house.people.erase(ANN), await house.people.erase(ANN)

    assert (first.artwork_count, second.artwork_count) == (1, 0)
    assert (await house.people.ensure(ANN, Claims("Ann"), clock.now + 1000)).email == ""
    assert (await house.feed.of_user(Ask(ANN), ANN)).cards == ()


async def test_hidden_favourites_of_others_are_left_out(house: House, studio: Studio) -> None:
    mine, _ = await lived(house, studio)
    await house.artworks.unpublish(ANN, mine)

    assert (await house.feed.of_shelf(Ask(BOB), Shelf.FAVORITES, BOB)).cards == ()
    assert len((await house.feed.of_shelf(Ask(ANN), Shelf.FAVORITES, BOB)).cards) == 1
    with pytest.raises(Unauthenticated):
        await house.feed.of_shelf(Ask(""), Shelf.FAVORITES, BOB)
