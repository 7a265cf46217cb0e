"""What keeps artworks, and what reads lists of them."""

from collections.abc import Sequence
from typing import Protocol

from services.community.model import After, Artwork, Card, Listing, Mark, Reacted, Reaction, State


class BeingDeletedError(Exception):
    """An object is in the deletion queue and cannot be taken out: its key is never referred to again."""


class WorkStore(Protocol):
    """Keeps artworks. A card shows what the viewer thinks of it; whether they may see it, the caller decides."""

    async def find(self, artwork_id: str, viewer_id: str) -> Card | None:
        """The artwork with this id."""

    async def find_any(self, identifier: str, viewer_id: str) -> Card | None:
        """The artwork with this id, or the one that was ordered under this generation's or provider's id.

        Its order is then the one that the id names.
        """

    async def find_object(self, user_id: str, object_key: str) -> Card | None:
        """The newest artwork of a person that shows this object."""

    async def find_request(self, user_id: str, request_key: str) -> Card | None:
        """The artwork of a person with this request_key."""

    async def cards(self, artwork_ids: Sequence[str], viewer_id: str) -> dict[str, Card]:
        """Those of the artworks that exist, by id, in one query."""

    async def insert(self, artwork: Artwork) -> Artwork:
        """Keep an artwork with a picture, or return the one of its owner with its request_key.

        The object leaves the deletion queue in the same transaction. One that is not the returned artwork's is
        discarded, if it is its owner's and no artwork shows it.

        Raises:
            BeingDeletedError: nothing was kept; the object is gone, or will be.
        """

    async def change(self, artwork: Artwork, was: State) -> bool:
        """Write an artwork's title, slug, state and first publication, if its state is still the one it was."""

    async def remove(self, artwork_id: str) -> bool:
        """Forget an artwork, everybody's reactions to it, and discard its picture if it is its owner's."""

    async def hide(self, artwork_id: str, *, hidden: bool) -> bool:
        """Hide or show an artwork; False when there is none."""

    async def rank(self, score: float, most: int) -> int:
        """How many listed artworks have a higher score, counted no further than `most`."""

    async def top_scores(self, most: int) -> tuple[float, ...]:
        """The scores of at most so many listed artworks, the highest first."""

    async def warm(self, now_ms: int, limit: int) -> int:
        """Work out the scores and age classes that age has changed by now, at most `limit`; how many there were."""

    async def own(self, object_key: str, user_id: str) -> str:
        """Note whose bytes these are, unless somebody's; return whose they are. They leave the deletion queue for them.

        Raises:
            BeingDeletedError: they are gone, or will be.
        """

    async def owner(self, object_key: str) -> str:
        """Whose bytes these are; empty when nobody's."""

    async def deleted_again(self, object_key: str) -> None:
        """Have the bytes deleted that storage has put under a key whose object was deleted before."""


class Lists(Protocol):
    """Reads lists of artworks; each page is one query, however many artworks there are."""

    async def page(
        self, listing: Listing, viewer_id: str, limit: int, after: After | None = None, skip: int = 0
    ) -> tuple[Mark, ...]:
        """A part of a list, the largest first, behind `after` and without the first `skip`.

        FAVORITES and LIKES leave out what the viewer may not see.
        """

    async def favorites(self, user_id: str, limit: int) -> tuple[str, ...]:
        """Ids of what a person has collected, the latest first."""

    async def relisted(self, user_id: str) -> None:
        """What everybody may see of this person's artworks has changed."""

    async def reacted(self, user_id: str, reaction: Reaction, stands: Reacted) -> None:
        """A person's reaction has changed, and an artwork's counts."""

    async def cooled(self) -> None:
        """Age has changed scores."""
