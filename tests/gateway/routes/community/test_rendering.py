"""The words of artworks' states, also of those that a newer release of the community tells of."""

import pytest
from kawaii.community.v1 import artworks_pb2 as artworkspb

from gateway.routes.community import tasks
from gateway.routes.community.rendering import card, detail, hot_card, status_of

Artwork = artworkspb.Artwork
FUTURE = 99


@pytest.mark.parametrize("state", [*Artwork.State.values(), FUTURE])
def test_every_state_of_an_artwork_can_be_shown(state: int) -> None:
    artwork = Artwork(name="artworks/art_1", state=state)

    assert card(artwork)["status"] == status_of(artwork)
    assert status_of(artwork) in {"generating", "draft", "published", "failed"}


@pytest.mark.parametrize("state", [*Artwork.Order.State.values(), FUTURE])
def test_every_state_of_an_order_can_be_shown(state: int) -> None:
    artwork = Artwork(name="artworks/art_1", order=Artwork.Order(state=state))

    assert tasks.status_of(artwork) in {"pending", "generating", "completed", "failed", "timeout"}


@pytest.mark.parametrize("level", [*artworkspb.HotLevel.values(), FUTURE])
def test_every_level_of_hotness_can_be_shown(level: int) -> None:
    artwork = Artwork(name="artworks/art_1", hot_level=level)
    words = {"new", "watch", "active", "rising", "hot", "viral"}

    assert {shown(artwork)["hot_level"] for shown in (detail, hot_card)} <= words
