"""Reads first pages from the read models, and invalidates or updates those on changes.

Read models hold ids only; the rows are read by id in one query. So nobody sees a draft or a stale count, and a list
that names a deleted artwork, or is in another order by now, is read from the rows.
"""

from collections.abc import Callable, Mapping, Sequence

from services.community.model import After, Artwork, Listing, Mark, Reacted, Reaction, Shelf
from services.community.ports import ArtworkStore, CachedMembers, Lists, ReadModels

FEED, RANKING = "feed_queue", "hot_rank"
DEPTH = 200  # of a list: nearly two of the longest pages
SET_DEPTH = 10_000  # of a set of favourites
VALUES: Mapping[Shelf, Callable[[Artwork], float]] = {
    Shelf.NEWEST: lambda artwork: artwork.publish_ms,
    Shelf.HOT: lambda artwork: artwork.hot_score,
    Shelf.AUTHOR: lambda artwork: artwork.create_ms,
}


def artworks_key(user_id: str) -> str:
    """The key of the list of a user's published artworks."""
    return f"user:{user_id}:artworks"


def favorites_key(user_id: str) -> str:
    """The key of the set of a user's favourites."""
    return f"user:{user_id}:favorites"


def likes_key(artwork_id: str) -> str:
    """The key of the number of an artwork's likes."""
    return f"artwork:{artwork_id}:likes"


def key_of(listing: Listing) -> str:
    """The key of a list's read model; empty for lists without one."""
    match listing:
        case Listing(Shelf.NEWEST):
            return FEED
        case Listing(Shelf.HOT, _, 0, 0):
            return RANKING
        case Listing(Shelf.AUTHOR, user_id):
            return artworks_key(user_id)
        case _:
            return ""


class CachedLists:
    """Lists, first from the read models."""

    def __init__(self, lists: Lists, artwork_store: ArtworkStore, models: ReadModels) -> None:
        self._lists, self._artwork_store, self._models = lists, artwork_store, models

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """The page of the read model if it is valid; else that of the rows."""
        key = key_of(listing)
        if not key or after or skip or limit > DEPTH:
            return await self._lists.page(listing, viewer_id, limit, after, skip)
        look = await self._look(listing, key)
        if marks := await self._known(listing, (look.members or ())[:limit], viewer_id):
            return marks
        if not look.epoch:
            return await self._lists.page(listing, viewer_id, limit)
        return (await self._filled(listing, viewer_id, look.epoch))[:limit]

    async def favorites(self, user_id: str, limit: int) -> tuple[str, ...]:
        """Read ids from the rows, which is cheap."""
        return await self._lists.favorites(user_id, limit)

    async def relisted(self, user_id: str) -> None:
        """Invalidate the feed, the ranking and the user's list."""
        await self._models.forget(FEED, RANKING, artworks_key(user_id))

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """Update the score and the number of likes or the set of favourites; a missing set is filled."""
        await self._models.score(RANKING, stands.artwork_id, stands.hot_score)
        if reaction is Reaction.LIKE:
            await self._models.put_number(likes_key(stands.artwork_id), stands.like_count)
        elif not await self._models.member(favorites_key(user_id), stands.artwork_id, there=stands.favorited):
            await self.fill_favorites(user_id)

    async def scores_decayed(self) -> None:
        """Invalidate the ranking."""
        await self._models.forget(RANKING)

    async def common(self) -> int:
        """Rebuild the feed and the ranking."""
        return await self._anew(Listing(Shelf.NEWEST)) + await self._anew(Listing(Shelf.HOT))

    async def of_user(self, user_id: str) -> int:
        """Rebuild a user's list and set, and the likes of their artworks."""
        before = self._models.written
        listing = Listing(Shelf.AUTHOR, user_id)
        await self._anew(listing)
        await self.fill_favorites(user_id)
        for mark in await self._lists.page(listing, "", DEPTH):
            await self._models.put_number(likes_key(mark.card.artwork.id), mark.card.artwork.like_count)
        return self._models.written - before

    async def fill_favorites(self, user_id: str) -> None:
        """Rebuild a user's set of favourites."""
        await self._models.put_set(favorites_key(user_id), await self.favorites(user_id, SET_DEPTH))

    async def _anew(self, listing: Listing) -> int:
        before, look = self._models.written, await self._look(listing, key_of(listing))
        if look.epoch:
            await self._filled(listing, "", look.epoch)
        return self._models.written - before

    async def _look(self, listing: Listing, key: str) -> CachedMembers:
        read = self._models.ranking if listing.shelf is Shelf.HOT else self._models.list
        return await read(key, DEPTH)

    async def _known(self, listing: Listing, ids: Sequence[str], viewer_id: str) -> tuple[Mark, ...]:
        """The cards of a cached list; none when it is stale."""
        cards = await self._artwork_store.cards(ids, viewer_id) if ids else {}
        if len(cards) < len(ids) or not all(card.artwork.listed for card in cards.values()):
            return ()
        value = VALUES[listing.shelf]
        marks = tuple([Mark(cards[each], value(cards[each].artwork)) for each in ids])
        order = [(mark.value, mark.card.artwork.id) for mark in marks]
        return marks if order == sorted(order, reverse=True) else ()

    async def _filled(self, listing: Listing, viewer_id: str, epoch: bytes) -> tuple[Mark, ...]:
        marks = await self._lists.page(listing, viewer_id, DEPTH)
        ids = [mark.card.artwork.id for mark in marks]
        if listing.shelf is Shelf.HOT:
            scores = {mark.card.artwork.id: mark.value for mark in marks}
            await self._models.put_ranking(RANKING, scores, epoch)
        else:
            await self._models.put_list(key_of(listing), ids, epoch)
        return marks
