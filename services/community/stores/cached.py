"""Reads first pages by way of the read models, and keeps those in step with what is changed here.

Only ids come from there; the rows are read by id in one query all the same. So nobody sees a draft or an old count, and
a list that names an artwork which is gone, or stands in another order now, is read anew.
"""

from collections.abc import Callable, Mapping, Sequence

from services.community.model import After, Artwork, Listing, Mark, Reacted, Reaction, Shelf
from services.community.ports import Lists, Look, ReadModels, WorkStore

FEED, RANKING = "feed_queue", "hot_rank"
DEPTH = 200  # of a list: nearly two of the longest pages
SET_DEPTH = 10_000  # of a set of favourites
VALUES: Mapping[Shelf, Callable[[Artwork], float]] = {
    Shelf.NEWEST: lambda artwork: artwork.publish_ms,
    Shelf.HOT: lambda artwork: artwork.hot_score,
    Shelf.AUTHOR: lambda artwork: artwork.create_ms,
}


def works_key(user_id: str) -> str:
    """The list of a person's published artworks."""
    return f"user:{user_id}:artworks"


def favorites_key(user_id: str) -> str:
    """The set of what a person has collected."""
    return f"user:{user_id}:favorites"


def likes_key(artwork_id: str) -> str:
    """The number of an artwork's likes."""
    return f"artwork:{artwork_id}:likes"


def key_of(listing: Listing) -> str:
    """Under which key a list is kept; empty for those that are not."""
    match listing:
        case Listing(Shelf.NEWEST):
            return FEED
        case Listing(Shelf.HOT, _, 0, 0):
            return RANKING
        case Listing(Shelf.AUTHOR, user_id):
            return works_key(user_id)
        case _:
            return ""


class CachedLists:
    """Lists that ask the read models first."""

    def __init__(self, lists: Lists, works: WorkStore, models: ReadModels) -> None:
        self._lists, self._works, self._models = lists, works, models

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """The page of the read model, if it has one that is still right; else that of the rows."""
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
        """From the rows: ids alone are cheap to read."""
        return await self._lists.favorites(user_id, limit)

    async def relisted(self, user_id: str) -> None:
        """Three lists may have changed."""
        await self._models.forget(FEED, RANKING, works_key(user_id))

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """The score has changed, and a number or a set; a set that is missing is filled."""
        await self._models.score(RANKING, stands.artwork_id, stands.hot_score)
        if reaction is Reaction.LIKE:
            await self._models.put_number(likes_key(stands.artwork_id), stands.like_count)
        elif not await self._models.member(favorites_key(user_id), stands.artwork_id, there=stands.favorited):
            await self.fill_favorites(user_id)

    async def cooled(self) -> None:
        """The ranking is another."""
        await self._models.forget(RANKING)

    async def common(self) -> int:
        """The feed and the ranking."""
        return await self._anew(Listing(Shelf.NEWEST)) + await self._anew(Listing(Shelf.HOT))

    async def of_user(self, user_id: str) -> int:
        """A person's list and set, and the likes of their artworks."""
        before = self._models.written
        listing = Listing(Shelf.AUTHOR, user_id)
        await self._anew(listing)
        await self.fill_favorites(user_id)
        for mark in await self._lists.page(listing, "", DEPTH):
            await self._models.put_number(likes_key(mark.card.artwork.id), mark.card.artwork.like_count)
        return self._models.written - before

    async def fill_favorites(self, user_id: str) -> None:
        """Write a person's set anew."""
        await self._models.put_set(favorites_key(user_id), await self.favorites(user_id, SET_DEPTH))

    async def _anew(self, listing: Listing) -> int:
        before, look = self._models.written, await self._look(listing, key_of(listing))
        if look.epoch:
            await self._filled(listing, "", look.epoch)
        return self._models.written - before

    async def _look(self, listing: Listing, key: str) -> Look:
        read = self._models.ranking if listing.shelf is Shelf.HOT else self._models.list
        return await read(key, DEPTH)

    async def _known(self, listing: Listing, ids: Sequence[str], viewer_id: str) -> tuple[Mark, ...]:
        """The cards of a kept list; none when it is not the list any more."""
        cards = await self._works.cards(ids, viewer_id) if ids else {}
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
