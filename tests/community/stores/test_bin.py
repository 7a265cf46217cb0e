"""The deletion queue: who takes an entry, and when."""

from services.community.house import House
from services.community.stores import Stores
from tests.community.neighbours import Studio
from tests.community.people import ANN, drawn


async def test_an_entry_is_due_when_it_was_postponed_to(house: House, stores: Stores, studio: Studio) -> None:
    """Neither at once, nor only when the lease of who took it last has ended."""
    card = await drawn(house, studio)
    await house.artworks.delete(ANN, card.artwork.id)
    taken = await stores.bin.claim(10, 3600)
    for deletion in taken:
        await stores.bin.postpone(deletion, 0)
    again = await stores.bin.claim(10, 0)
    for deletion in again:
        await stores.bin.postpone(deletion, 3600)

    assert card.artwork.object_key in [deletion.key for deletion in taken]
    assert sorted(deletion.key for deletion in again) == sorted(deletion.key for deletion in taken)
    assert await stores.bin.claim(10, 0) == []
