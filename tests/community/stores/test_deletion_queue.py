"""The deletion queue: who takes an entry, and when."""

from services.community.composition import CommunityService
from services.community.stores import Stores
from tests.community.fakes import FakeGenerations
from tests.community.steps import ANN, finished_draft
from tests.support.awaited import awaited


async def test_an_entry_is_due_when_it_was_postponed_to(
    community: CommunityService, stores: Stores, fake_generations: FakeGenerations
) -> None:
    """Neither at once, nor only when the lease of who took it last has ended."""
    card = await finished_draft(community, fake_generations)
    await community.artworks.delete(ANN, card.artwork.id)
    queue = awaited(stores.database, stores.deletion_queue)
    taken = await queue.claim(10, 3600)
    for deletion in taken:
        await queue.postpone(deletion, 0)
    again = await queue.claim(10, 0)
    for deletion in again:
        await queue.postpone(deletion, 3600)

    assert card.artwork.object_key in [deletion.key for deletion in taken]
    assert sorted(deletion.key for deletion in again) == sorted(deletion.key for deletion in taken)
    assert await queue.claim(10, 0) == []
