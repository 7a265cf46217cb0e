"""Steps that many tests of the community take."""

from services.community.composition import CommunityService
from services.community.core.orders import NewOrder
from services.community.core.saving import Save
from services.community.model import Card, Listing, Order, Shelf
from tests.community.fakes import FakeGenerations

WISH = NewOrder(prompt="a cat in the rain", model="flux-kontext-pro")
ANN, BOB = "auth0|ann", "auth0|bob"


async def ordered(community: CommunityService, user_id: str = ANN, request_id: str = "", digest: str = "") -> Card:
    """An artwork whose picture is being made."""
    return (await community.orders.create(user_id, WISH, request_id, digest)).card


def order_of(card: Card) -> Order:
    """The order of an artwork that has one."""
    assert card.order
    return card.order


async def finished_draft(community: CommunityService, fake_generations: FakeGenerations, user_id: str = ANN) -> Card:
    """A draft whose picture was made."""
    card = await ordered(community, user_id)
    await community.event_consumer.consume(fake_generations.end(order_of(card).generation_id))
    return await community.artworks.get(user_id, card.artwork.id)


async def all_artworks(community: CommunityService, user_id: str = ANN) -> list[Card]:
    """All artworks of a user, whatever their state, newest first."""
    listing = Listing(Shelf.OWNER, user_id)
    return [mark.card for mark in await community.feed._lists.page(listing, user_id, 100)]


async def published(community: CommunityService, user_id: str = ANN, title: str = "A cat") -> Card:
    """A published artwork, saved from a picture elsewhere."""
    uri = f"https://elsewhere.example/{user_id}/{title}.png"
    return await community.saving.save(user_id, Save(title, uri.replace("|", "-").replace(" ", "-"), publish=True))
