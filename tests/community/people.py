"""Short words for what tests of the community do again and again."""

from services.community.core.orders import Wish
from services.community.core.saving import Save
from services.community.house import House
from services.community.model import Card, Listing, Order, Shelf
from tests.community.neighbours import Studio

WISH = Wish(prompt="a cat in the rain", model="flux-kontext-pro")
ANN, BOB = "auth0|ann", "auth0|bob"


async def ordered(house: House, user_id: str = ANN, request_id: str = "", digest: str = "") -> Card:
    """An artwork whose picture is being made."""
    return await house.orders.create(user_id, WISH, request_id, digest)


def order_of(card: Card) -> Order:
    """The order of an artwork that has one."""
    assert card.order
    return card.order


async def drawn(house: House, studio: Studio, user_id: str = ANN) -> Card:
    """A draft whose picture was made."""
    card = await ordered(house, user_id)
    await house.follower.hear(studio.end(order_of(card).generation_id))
    return await house.artworks.get(user_id, card.artwork.id)


async def everything(house: House, user_id: str = ANN) -> list[Card]:
    """All artworks of a person, whatever their state, newest first."""
    listing = Listing(Shelf.OWNER, user_id)
    return [mark.card for mark in await house.feed._lists.page(listing, user_id, 100)]


async def published(house: House, user_id: str = ANN, title: str = "A cat") -> Card:
    """A published artwork, saved from a picture elsewhere."""
    uri = f"https://elsewhere.example/{user_id}/{title}.png"
    return await house.saving.save(user_id, Save(title, uri.replace("|", "-").replace(" ", "-"), publish=True))
