"""Deleted pictures lose their bytes, and nobody else's do: whatever is saved again while they are being deleted."""

import asyncio
import random
from contextlib import suppress

import pytest

from services.chassis.errors import NotFound, PermissionDenied
from services.community.core.feed import Ask
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Card
from tests.community.neighbours import OURS, Cupboard, Studio
from tests.community.people import ANN, BOB, WISH

SAVE = Save("One", "https://a.example/x.png")
UPLOAD = "artworks/original/a.png"
WAYS = ["url", "own url", "upload"]


async def kept(house: House, way: str) -> Card:
    """An artwork that Ann keeps, in one of three ways; each names the same picture every time."""
    if way == "url":
        return await house.saving.save(ANN, SAVE)
    if way == "own url":
        await house.saving.upload(ANN, UPLOAD, "", draft=False)
        return await house.saving.save(ANN, Save("One", OURS + UPLOAD))
    card = await house.saving.upload(ANN, UPLOAD, "One", draft=True)
    assert card
    return card


async def shown(house: House) -> list[str]:
    """The keys of what Ann's artworks show."""
    return [card.artwork.object_key for card in (await house.feed.of_user(Ask(ANN), ANN)).cards]


@pytest.mark.parametrize("way", WAYS)
async def test_a_picture_that_is_saved_again_before_the_sweep_keeps_its_bytes(
    house: House, cupboard: Cupboard, way: str
) -> None:
    first = await kept(house, way)
    await house.artworks.delete(ANN, first.artwork.id)
    second = await kept(house, way)

    await house.sweeper.sweep()

    assert second.artwork.id != first.artwork.id
    assert [cupboard.holds(key) for key in await shown(house)] == [True]
    assert cupboard.deleted == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_picture_that_was_saved_again_is_deleted_with_its_last_artwork(
    house: House, cupboard: Cupboard, way: str
) -> None:
    for _ in range(2):
        card = await kept(house, way)
        await house.artworks.delete(ANN, card.artwork.id)

    await house.sweeper.sweep()

    assert cupboard.deleted == [card.artwork.object_key]
    assert [each async for each in house.people.export(ANN) if isinstance(each, str)] == []


async def test_a_url_saved_while_its_copy_is_being_deleted_takes_a_new_key(house: House, cupboard: Cupboard) -> None:
    first = await kept(house, "url")
    await house.artworks.delete(ANN, first.artwork.id)

    async def save_again() -> None:
        await kept(house, "url")

    cupboard.asked = save_again
    await house.sweeper.sweep()

    assert [cupboard.holds(key) for key in await shown(house)] == [True]
    assert first.artwork.object_key not in await shown(house)


@pytest.mark.parametrize("way", ["own url", "upload"])
async def test_a_file_of_ours_that_is_being_deleted_is_not_found(house: House, cupboard: Cupboard, way: str) -> None:
    first = await kept(house, way)
    await house.artworks.delete(ANN, first.artwork.id)

    async def save_again() -> None:
        with pytest.raises(NotFound):
            await kept(house, way)

    cupboard.asked = save_again
    await house.sweeper.sweep()

    assert (await shown(house), cupboard.deleted) == ([], [UPLOAD])
    with pytest.raises(NotFound):
        await kept(house, way)


async def test_a_copy_that_is_deleted_between_its_name_and_its_row_is_made_again(
    house: House, cupboard: Cupboard
) -> None:
    """Storage names a key, then the whole deletion of that key happens, then the row is to be written."""
    first = await kept(house, "url")
    await house.artworks.delete(ANN, first.artwork.id)

    async def sweep() -> None:
        await house.sweeper.sweep()

    cupboard.named = sweep
    await kept(house, "url")

    assert cupboard.deleted
    assert [cupboard.holds(key) for key in await shown(house)] == [True]


async def test_bytes_that_came_back_under_a_deleted_key_are_deleted_too(house: House, cupboard: Cupboard) -> None:
    first = await kept(house, "url")
    await house.artworks.delete(ANN, first.artwork.id)
    await house.sweeper.sweep()

    second = await kept(house, "url")
    await house.sweeper.sweep()

    assert cupboard.deleted == [first.artwork.object_key] * 2
    assert cupboard.holds(second.artwork.object_key)


async def test_nobody_else_keeps_what_its_owner_has_deleted(house: House, cupboard: Cupboard) -> None:
    card = await kept(house, "own url")
    await house.artworks.delete(ANN, card.artwork.id)

    with pytest.raises(PermissionDenied):
        await house.saving.save(BOB, Save("Mine", OURS + UPLOAD))
    await house.sweeper.sweep()

    assert cupboard.deleted == [UPLOAD]


async def test_an_erased_persons_picture_cannot_be_kept_by_anybody(house: House, cupboard: Cupboard) -> None:
    await kept(house, "own url")
    await house.people.erase(ANN)

    with pytest.raises(NotFound):
        await house.saving.save(BOB, Save("Mine", OURS + UPLOAD))
    await house.sweeper.sweep()

    assert cupboard.deleted == [UPLOAD]


async def test_a_late_picture_that_somebody_has_saved_meanwhile_stays(
    house: House, studio: Studio, cupboard: Cupboard
) -> None:
    """Its artwork is gone before the event is read, but its picture was saved by its URL."""
    card = await house.orders.create(ANN, WISH, "")
    await house.artworks.delete(ANN, card.artwork.id)
    event = studio.end("gen_1")
    await house.saving.save(ANN, Save("Late", OURS + event.object_key))

    await house.follower.hear(event)
    await house.sweeper.sweep()

    assert cupboard.deleted == []


async def test_two_saves_of_one_url_at_once_leave_one_copy(house: House, cupboard: Cupboard) -> None:
    cards = await asyncio.gather(*(kept(house, "url") for _ in range(4)))
    await house.artworks.delete(ANN, cards[0].artwork.id)
    await house.sweeper.sweep()

    assert [key for key in cupboard.kept.values() if cupboard.holds(key)] == []


async def test_saves_deletions_and_sweeps_at_once_lose_no_byte_that_is_shown(house: House, cupboard: Cupboard) -> None:
    """Many orders of the steps, each client by its own dice."""

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(12):
            with suppress(NotFound):  # another client was faster
                card = await house.saving.save(ANN, Save("One", f"https://a.example/{dice.randrange(3)}.png"))
                if dice.randrange(3):
                    await house.artworks.delete(ANN, card.artwork.id)

    async def sweep() -> None:
        for _ in range(30):
            await house.sweeper.sweep()

    async def turn() -> None:
        await asyncio.sleep(0)

    cupboard.named = cupboard.asked = turn
    await asyncio.gather(*(client(seed) for seed in range(4)), sweep())
    while await house.sweeper.sweep():
        pass

    keys = await shown(house)
    assert [key for key in keys if not cupboard.holds(key)] == []
    assert sorted(key for key in cupboard.kept.values() if cupboard.holds(key)) == sorted(keys)
