"""Lists of artworks: the feed, the trending list and the lists of a user; and the hotness that orders them."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.database import Database, Transaction
from services.chassis.errors import NotFound
from services.chassis.paging import page_size
from services.community.core import page_tokens, validation
from services.community.model import Artwork, ArtworkPage, Card, Listing, Reacted, Shelf
from services.community.model.hotness import Category, age_class, decay
from services.community.ports import ArtworkStore, Lists

RANKS = 1000  # ranks that are counted
DECAY_SECONDS = 5.0  # how late decay may show in a score; its steps are hours or days
DECAY_BATCH = 200  # rows of one transaction, so that reactions do not wait long


@dataclass(frozen=True)
class PageRequest:
    """A request for a page of a list, not validated yet."""

    viewer_id: str
    page_size: int = 0
    page_token: str = ""
    skip: int = 0


@dataclass(frozen=True)
class Hotness:
    """The hotness of an artwork and its rank among all; 0 for none."""

    card: Card
    rank: int
    decay: float


class Feed:
    """Reads pages of lists and the hotness of artworks."""

    def __init__(self, database: Database, lists: Lists, artwork_store: ArtworkStore, clock: Clock) -> None:
        self._database, self._lists, self._artwork_store, self._clock = database, lists, artwork_store, clock

    async def newest(self, page_request: PageRequest) -> ArtworkPage:
        """The published artworks, newest first. Raises InvalidArgument."""
        return await self._page(Listing(Shelf.NEWEST), page_request)

    async def hottest(
        self, page_request: PageRequest, window_ms: int = 0, category: Category = Category.ALL
    ) -> ArtworkPage:
        """The published artworks by score, of a window and a category. Raises InvalidArgument."""
        since = self._clock() - window_ms if window_ms else 0
        ages = age_class(window_ms) + 1 if window_ms else 0
        binding = Listing(Shelf.HOT, since_ms=window_ms, least_score=category)
        wanted = Listing(Shelf.HOT, since_ms=since, least_score=float(category), ages=ages)
        return await self._page(wanted, page_request, binding)

    async def of_user(self, page_request: PageRequest, user_id: str) -> ArtworkPage:
        """A user's finished artworks: with drafts for the user, the published ones for others.

        Raises:
            InvalidArgument.
        """
        validation.user("user_id", user_id)
        shelf = Shelf.FINISHED if page_request.viewer_id == user_id else Shelf.AUTHOR
        return await self._page(Listing(shelf, user_id), page_request)

    async def of_shelf(self, page_request: PageRequest, shelf: Shelf, user_id: str) -> ArtworkPage:
        """A user's likes or favourites. Raises Unauthenticated, InvalidArgument."""
        validation.signed_in(page_request.viewer_id)
        return await self._page(Listing(shelf, validation.user("user_id", user_id)), page_request)

    async def states(self, viewer_id: str, artwork_ids: Sequence[str]) -> tuple[Reacted, ...]:
        """Counts and the viewer's own reactions, in the order asked; zeros for artworks that they cannot see.

        Raises:
            InvalidArgument: more than MAX_BATCH artworks.
        """
        validation.batch(len(artwork_ids))
        cards = await self._database.read(self._artwork_store.cards, list(dict.fromkeys(artwork_ids)), viewer_id)
        return tuple([_state(each, cards.get(each), viewer_id) for each in artwork_ids])

    async def hotness(self, viewer_id: str, artwork_id: str) -> Hotness:
        """The hotness of an artwork. Raises NotFound."""
        card = await self._database.read(self._artwork_store.find, artwork_id, viewer_id)
        if card is None or not card.artwork.visible_to(viewer_id):
            raise NotFound("There is no such artwork. It may have been deleted.")
        counted = _counted(card.artwork)
        score = card.artwork.hot_score
        higher = await self._database.read(self._artwork_store.rank, score, RANKS) if counted else RANKS
        return self._hotness(card, higher)

    async def hotnesses(self, viewer_id: str, artwork_ids: Sequence[str]) -> tuple[Hotness, ...]:
        """The hotness of many artworks, in the order asked; those that the viewer cannot see are left out.

        Two queries, however many there are: the cards, and the highest scores.

        Raises:
            InvalidArgument: more than MAX_BATCH artworks.
        """
        validation.batch(len(artwork_ids))
        asked = list(dict.fromkeys(artwork_ids))
        cards = await self._database.read(self._artwork_store.cards, asked, viewer_id)
        shown = [card for each in asked if (card := cards.get(each)) and card.artwork.visible_to(viewer_id)]
        ranked = any(_counted(card.artwork) for card in shown)
        highest = await self._database.read(self._artwork_store.top_scores, RANKS) if ranked else ()
        scores = [-score for score in highest]
        higher = (bisect_left(scores, -card.artwork.hot_score) if _counted(card.artwork) else RANKS for card in shown)
        return tuple(map(self._hotness, shown, higher))

    def _hotness(self, card: Card, higher: int) -> Hotness:
        age = self._clock() - (card.artwork.publish_ms or card.artwork.create_ms)
        return Hotness(card, higher + 1 if higher < RANKS else 0, decay(age))

    async def _page(self, listing: Listing, page_request: PageRequest, binding: Listing | None = None) -> ArtworkPage:
        bound = binding or listing
        size, skip = (
            page_size(page_request.page_size, validation.DEFAULT_PAGE_SIZE, validation.MAX_PAGE_SIZE),
            validation.skip(page_request.skip),
        )
        after = page_tokens.after_of(str(bound), page_request.page_token)
        entries = await self._lists.page(listing, page_request.viewer_id, size + 1, after, skip)
        return page_tokens.page_of(bound, entries, size)


class ScoreDecay:
    """Recomputes the hot scores that have decayed with age."""

    def __init__(self, database: Database, artwork_store: ArtworkStore, lists: Lists, clock: Clock) -> None:
        self._database, self._artwork_store, self._lists, self._clock = database, artwork_store, lists, clock

    async def run(self) -> None:
        """Recompute decayed scores until cancelled."""
        while True:
            if await self.decay_due() < DECAY_BATCH:
                await asyncio.sleep(DECAY_SECONDS)

    async def decay_due(self) -> int:
        """Recompute one batch; returns its size."""
        changed = await self._database.write(self._decay, self._clock())
        await self._lists.updated("")
        return changed

    def _decay(self, transaction: Transaction, now_ms: int) -> int:
        changed = self._artwork_store.decay_scores(transaction, now_ms, DECAY_BATCH)
        if changed:
            transaction.after_commit(self._lists.scores_decayed)
        return changed


def _counted(artwork: Artwork) -> bool:
    """Whether an artwork may have a rank."""
    return artwork.listed and artwork.hot_score > 0


def _state(artwork_id: str, card: Card | None, viewer_id: str) -> Reacted:
    if card is None or not card.artwork.visible_to(viewer_id):
        return Reacted(artwork_id)
    artwork = card.artwork
    return Reacted(artwork_id, artwork.like_count, artwork.favorite_count, card.liked, card.favorited)
