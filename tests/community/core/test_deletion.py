"""Deleted pictures lose their bytes, and nobody else's do: whatever is saved again while they are being deleted."""

import asyncio
import random
from contextlib import suppress

import pytest

from services.chassis.errors import NotFound, PermissionDenied
from services.community.composition import CommunityService
from services.community.core.feed import PageRequest
from services.community.core.saving import Save
from services.community.model import Card
from tests.community.fakes import OURS, FakeGenerations, FakeObjects
from tests.community.steps import ANN, BOB, WISH

SAVE = Save("One", "https://a.example/x.png")
UPLOAD = "artworks/original/a.png"
WAYS = ["url", "own url", "upload"]


async def kept(community: CommunityService, way: str) -> Card:
    """An artwork that Ann keeps, in one of three ways; each names the same picture every time."""
    if way == "url":
        return await community.saving.save(ANN, SAVE)
    if way == "own url":
        await community.saving.upload(ANN, UPLOAD, "", draft=False)
        return await community.saving.save(ANN, Save("One", OURS + UPLOAD))
    card = await community.saving.upload(ANN, UPLOAD, "One", draft=True)
    assert card
    return card


async def shown(community: CommunityService) -> list[str]:
    """The keys of what Ann's artworks show."""
    return [card.artwork.object_key for card in (await community.feed.of_user(PageRequest(ANN), ANN)).cards]


@pytest.mark.parametrize("way", WAYS)
async def test_a_picture_that_is_saved_again_before_its_deletion_keeps_its_bytes(
    community: CommunityService, fake_objects: FakeObjects, way: str
) -> None:
    first = await kept(community, way)
    await community.artworks.delete(ANN, first.artwork.id)
    second = await kept(community, way)

    await community.deletion_worker.delete_due()

    assert second.artwork.id != first.artwork.id
    assert [fake_objects.holds(key) for key in await shown(community)] == [True]
    assert fake_objects.deleted == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_picture_that_was_saved_again_is_deleted_with_its_last_artwork(
    community: CommunityService, fake_objects: FakeObjects, way: str
) -> None:
    for _ in range(2):
        card = await kept(community, way)
        await community.artworks.delete(ANN, card.artwork.id)

    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == [card.artwork.object_key]
    assert [each async for each in community.users.export(ANN) if isinstance(each, str)] == []


async def test_a_url_saved_while_its_copy_is_being_deleted_takes_a_new_key(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    first = await kept(community, "url")
    await community.artworks.delete(ANN, first.artwork.id)

    async def save_again() -> None:
        await kept(community, "url")

    fake_objects.asked = save_again
    await community.deletion_worker.delete_due()

    assert [fake_objects.holds(key) for key in await shown(community)] == [True]
    assert first.artwork.object_key not in await shown(community)


@pytest.mark.parametrize("way", ["own url", "upload"])
async def test_a_file_of_ours_that_is_being_deleted_is_not_found(
    community: CommunityService, fake_objects: FakeObjects, way: str
) -> None:
    first = await kept(community, way)
    await community.artworks.delete(ANN, first.artwork.id)

    async def save_again() -> None:
        with pytest.raises(NotFound):
            await kept(community, way)

    fake_objects.asked = save_again
    await community.deletion_worker.delete_due()

    assert (await shown(community), fake_objects.deleted) == ([], [UPLOAD])
    with pytest.raises(NotFound):
        await kept(community, way)


async def test_a_copy_that_is_deleted_between_its_name_and_its_row_is_made_again(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    """Storage names a key, then the whole deletion of that key happens, then the row is to be written."""
    first = await kept(community, "url")
    await community.artworks.delete(ANN, first.artwork.id)

    async def delete_due() -> None:
        await community.deletion_worker.delete_due()

    fake_objects.named = delete_due
    await kept(community, "url")

    assert fake_objects.deleted
    assert [fake_objects.holds(key) for key in await shown(community)] == [True]


async def test_bytes_that_came_back_under_a_deleted_key_are_deleted_too(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    first = await kept(community, "url")
    await community.artworks.delete(ANN, first.artwork.id)
    await community.deletion_worker.delete_due()

    second = await kept(community, "url")
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == [first.artwork.object_key] * 2
    assert fake_objects.holds(second.artwork.object_key)


async def test_nobody_else_keeps_what_its_owner_has_deleted(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    card = await kept(community, "own url")
    await community.artworks.delete(ANN, card.artwork.id)

    with pytest.raises(PermissionDenied):
        await community.saving.save(BOB, Save("Mine", OURS + UPLOAD))
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == [UPLOAD]


async def test_an_erased_persons_picture_cannot_be_kept_by_anybody(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    await kept(community, "own url")
    await community.users.erase(ANN)

    with pytest.raises(NotFound):
        await community.saving.save(BOB, Save("Mine", OURS + UPLOAD))
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == [UPLOAD]


async def test_a_late_picture_that_somebody_has_saved_meanwhile_stays(
    community: CommunityService, fake_generations: FakeGenerations, fake_objects: FakeObjects
) -> None:
    """Its artwork is gone before the event is read, but its picture was saved by its URL."""
    card = (await community.orders.create(ANN, WISH, "")).card
    await community.artworks.delete(ANN, card.artwork.id)
    event = fake_generations.end("gen_1")
    await community.saving.save(ANN, Save("Late", OURS + event.object_key))

    await community.event_consumer.consume(event)
    await community.deletion_worker.delete_due()

    assert fake_objects.deleted == []


async def test_two_saves_of_one_url_at_once_leave_one_copy(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    cards = await asyncio.gather(*(kept(community, "url") for _ in range(4)))
    await community.artworks.delete(ANN, cards[0].artwork.id)
    await community.deletion_worker.delete_due()

    assert [key for key in fake_objects.kept.values() if fake_objects.holds(key)] == []


async def test_concurrent_saves_and_deletions_lose_no_byte_that_is_shown(
    community: CommunityService, fake_objects: FakeObjects
) -> None:
    """Many orders of the steps, each client by its own dice."""

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(12):
            with suppress(NotFound):  # another client was faster
                card = await community.saving.save(ANN, Save("One", f"https://a.example/{dice.randrange(3)}.png"))
                if dice.randrange(3):
                    await community.artworks.delete(ANN, card.artwork.id)

    async def delete_due() -> None:
        for _ in range(30):
            await community.deletion_worker.delete_due()

    async def turn() -> None:
        await asyncio.sleep(0)

    fake_objects.named = fake_objects.asked = turn
    await asyncio.gather(*(client(seed) for seed in range(4)), delete_due())
    while await community.deletion_worker.delete_due():
        pass

    keys = await shown(community)
    assert [key for key in keys if not fake_objects.holds(key)] == []
    assert sorted(key for key in fake_objects.kept.values() if fake_objects.holds(key)) == sorted(keys)
