"""The ports of artworks and of lists of them."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import After, Artwork, Card, Listing, Mark, Reacted, Reaction, State


class BeingDeletedError(Exception):
    """The deletion of an object has begun: its key is never referred to again."""


class ArtworkStore(Protocol):
    """Stores artworks. A card holds the viewer's reactions; callers decide whether the viewer may see it."""

    async def find(self, artwork_id: str, viewer_id: str) -> Card | None:
        """The artwork with this id."""

    async def find_any(self, identifier: str, viewer_id: str) -> Card | None:
        """The artwork with this id, or the one that was ordered under this generation's or provider's id.

        The card then holds the order that the id names.
        """

    async def find_object(self, user_id: str, object_key: str) -> Card | None:
        """The newest artwork of a user that shows this object."""

    async def find_request(self, user_id: str, request_key: str) -> Card | None:
        """The artwork of a user with this request_key."""

    async def cards(self, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Those of the artworks that exist, by id, in one query."""

    async def insert(self, artwork: Artwork) -> Artwork:
        """Insert an artwork with a picture, or return the owner's artwork with its request_key.

        The object leaves the deletion queue in the same transaction. If an older artwork is returned, the new object
        is queued for deletion when the user owns it and no artwork shows it.

        Raises:
            BeingDeletedError: nothing was stored; the object is deleted, or being deleted.
        """

    async def change(self, artwork: Artwork, was: State) -> bool:
        """Update an artwork's title, slug, state and first publication, if its state is still `was`."""

    async def remove(self, artwork_id: str) -> bool:
        """Delete an artwork and all reactions to it, and queue its object for deletion if its owner owns that."""

    async def hide(self, artwork_id: str, *, hidden: bool) -> bool:
        """Hide or show an artwork; False when there is none."""

    async def rank(self, score: float, most: int) -> int:
        """The number of listed artworks with a higher score, counted up to `most`."""

    async def top_scores(self, most: int) -> tuple[float, ...]:
        """The scores of at most `most` listed artworks, the highest first."""

    async def decay_scores(self, now_ms: int, limit: int) -> int:
        """Recompute at most `limit` scores and age classes that are due; returns their number."""

    async def own(self, object_key: str, user_id: str) -> str:
        """Make a user the owner of an object without one; returns its owner, for whom it leaves the deletion queue.

        Raises:
            BeingDeletedError: the object is deleted, or being deleted.
        """

    async def owner(self, object_key: str) -> str:
        """The owner of an object; empty when there is none."""

    async def deleted_again(self, object_key: str) -> None:
        """Queue a key for deletion again under which storage has put bytes after its deletion."""


class Lists(Protocol):
    """Reads lists of artworks; each page is one query, however many artworks there are."""

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """A page of a list, the largest first, after `after` and without the first `skip`.

        FAVORITES and LIKES leave out artworks that the viewer may not see.
        """

    async def favorites(self, user_id: str, limit: int) -> tuple[str, ...]:
        """Ids of a user's favourites, the latest first."""

    async def relisted(self, user_id: str) -> None:
        """Invalidate the lists of a user's published artworks."""

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """Update the lists for a changed reaction."""

    async def scores_decayed(self) -> None:
        """Invalidate the lists that are ordered by score."""
